"""What a warehouse can do to a job."""

from __future__ import annotations

import pytest
import requests

from blade_server.errors import Reason
from blade_server.model import Status, WaitReason

EXACT = {"replace": False, "idempotency_keys": 0}


def everything(count):
    return {f"MAINT-{number}": 1 for number in range(count)}


@pytest.mark.slow
def test_sessions_that_expire_in_mid_read_cost_time_only(make_world, ended, reaches):
    world = make_world(30_000, **EXACT)
    world.runner()
    world.catalog.set_faults(latency_ms=20)
    job = reaches(world, world.begin(), lambda job: job.success_count)
    world.warehouse_faults(expire_sessions=True)
    world.catalog.clear_faults()
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 30_000), done.error_message
    assert world.held() == everything(30_000)


def test_a_warehouse_that_is_starting_is_waited_for(make_world, ended, reaches):
    world = make_world(300, **EXACT)
    world.settings = world.configured(retry_attempts=6, retry_base_s=0.5)
    world.runner()
    world.warehouse_faults(starting={"seconds": 3})
    job = world.begin()
    why = {WaitReason.RETRY_BACKOFF, WaitReason.WAREHOUSE_STARTING}
    waiting = reaches(world, job, lambda job: job.wait_reason in why)
    assert waiting.status is Status.RUNNING
    assert ended(world, job).status is Status.COMPLETED


def test_a_warehouse_that_stays_away_fails_the_job_after_the_retries(make_world, ended):
    world = make_world(300)
    world.runner()
    job = world.begin()
    world.warehouse.stop()
    failed = ended(world, job)
    if failed.status is Status.COMPLETED:  # it was quicker than the stop
        failed = ended(world, world.begin())
    assert (failed.status, failed.error_reason) == (Status.FAILED, Reason.WAREHOUSE_UNAVAILABLE)
    assert "127.0.0.1" in failed.error_message


@pytest.mark.slow
def test_failing_calls_of_the_warehouse_are_tried_again(make_world, ended):
    world = make_world(5000, **EXACT)
    world.runner()
    world.warehouse_faults(fail_next={"count": 2, "code": 500, "call": "FetchResults"})
    job = ended(world, world.begin())
    assert (job.status, job.success_count) == (Status.COMPLETED, 5000), job.error_message
    assert world.held() == everything(5000)


def test_a_wrong_token_of_the_warehouse_fails_the_job_at_once(make_world, ended):
    world = make_world(10)
    world.runner(world.configured(DATABRICKS_TOKEN="dapi-wrong-token"))
    job = ended(world, world.begin())
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.WAREHOUSE_DENIED)
    assert "dapi-wrong-token" not in job.error_message


def test_a_table_that_changes_during_a_job_is_read_as_it_was_when_the_job_began(make_world, ended, reaches):
    world = make_world(4000, **EXACT)
    first = world.runner()
    world.catalog.set_faults(latency_ms=40)
    job = reaches(world, world.begin(batch_size=20), lambda job: job.success_count)
    first.stop(10)
    run(world, "DELETE FROM main.blade.blade_maintenance_data WHERE number >= 3000")
    run(world, "UPDATE main.blade.blade_maintenance_data SET item_id = concat('NEW-', item_id) WHERE number < 100")
    world.runner()
    done = ended(world, job)
    assert (done.status, done.success_count, done.total_items) == (Status.COMPLETED, 4000, 4000)
    assert world.held() == everything(4000)


def run(world, statement):
    from databricks import sql

    with (
        sql.connect(
            server_hostname=world.warehouse.url,
            http_path=world.warehouse.http_path,
            access_token=world.warehouse.token,
            _connection_uri=world.warehouse.url + world.warehouse.http_path,
            enable_telemetry=False,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_no_session_is_left_in_the_warehouse_when_all_is_done(make_world, ended, wait_until):
    world = make_world(500)
    runner = world.runner()
    for _ in range(3):
        ended(world, world.begin())
    runner.stop(5)
    headers = {"Authorization": f"Bearer {world.warehouse.token}"}

    def none_left():
        status = requests.get(f"{world.warehouse.url}/sandbox/status", headers=headers, timeout=60).json()
        return not status["open_sessions"]

    wait_until(none_left)
