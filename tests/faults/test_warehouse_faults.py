"""The warehouse: killed, slow, starting, forgetting its sessions, sending short."""

from __future__ import annotations

import pytest
from tests.faults.tables import LONG
from tests.faults.world import World

from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.job_pb2 import Job
from blade_server.model import WaitReason


@pytest.fixture(autouse=True)
def _one_server(world: World) -> None:
    world.serve("a", retry_base_s=1.0)


def test_killed_and_started_again_in_the_middle_of_a_result(world: World) -> None:
    world.warehouse_faults(slow_fetch_ms=400)
    run = world.start(LONG)
    job = world.until_moving(run)
    assert job.processed_items < 16_000
    world.kill_warehouse()
    world.start_warehouse()
    world.check(run)


def test_killed_before_the_rows_are_counted(world: World) -> None:
    source = world.add_source()
    world.warehouse_faults(slow_execute_ms=1000)
    run = world.start(source=source)
    world.wait(lambda: world.warehouse_status()["running_operations"])
    world.kill_warehouse()
    world.start_warehouse()
    world.check(run)


def test_slower_than_the_lease(world: World) -> None:
    source = world.add_source()
    world.warehouse_faults(slow_execute_ms=2300)
    run = world.start(source=source)
    world.check(run)
    assert not world.claimed_by(run, 2)  # a slow batch is not a dead worker


@pytest.mark.parametrize("when", ["while_reading", "before_planning"])
def test_sessions_expire(world: World, when: str) -> None:
    source = world.add_source(LONG)
    world.warehouse_faults(**{"slow_fetch_ms" if when == "while_reading" else "slow_execute_ms": 500})
    run = world.start(LONG, source=source)
    if when == "while_reading":
        world.until_moving(run)
    else:
        world.wait(lambda: world.warehouse_status()["running_operations"])
    world.warehouse_faults(expire_sessions=True)
    world.check(run)


def test_a_short_result_fails_the_job(world: World) -> None:
    source = world.add_source()
    world.warehouse_faults(short_result={"rows": 3})
    run = world.start(source=source)
    job = world.check(run, Job.FAILED)
    assert job.error.reason == ErrorReason.ERROR_REASON_RESULT_TRUNCATED
    assert (job.total_items, job.success_count) == (3000, 2997)


@pytest.mark.parametrize("rows", ["of_the_count", "of_the_result"])
def test_an_answer_with_rows_is_lost(world: World, rows: str) -> None:
    """The driver asks again by itself and gets the rows behind it: those in the lost answer are missing."""
    source = world.add_source(LONG)
    if rows == "of_the_count":
        world.warehouse_faults(drop_reply={"count": 1, "call": "FetchResults"})
        run = world.start(LONG, source=source)
    else:
        run = world.start(LONG, source=source)
        with world.postgres.gate(run.job_id, "NEW.plan <> OLD.plan") as gate:
            gate.wait_reached()
            world.warehouse_faults(drop_reply={"count": 1, "call": "FetchResults"})
    job = world.check(run)
    assert job.error_count == 0


def test_starting_for_a_while(world: World) -> None:
    source = world.add_source()
    world.warehouse_faults(starting={"seconds": 4})
    run = world.start(source=source)
    world.until(run, lambda job: job.wait_reason is WaitReason.WAREHOUSE_STARTING)
    world.check(run)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("call", ["OpenSession", "ExecuteStatement", "FetchResults", "CloseSession"])
@pytest.mark.parametrize("fault", ["drop_reply", "fail_next"])
def test_a_call_fails(world: World, fault: str, call: str, count: int) -> None:
    source = world.add_source()
    world.warehouse_faults(**{fault: {"count": count, "call": call} | ({"code": 500} if fault == "fail_next" else {})})
    run = world.start(source=source)
    world.check(run)
    # A session whose opening was not answered is known to nobody, and one that is not closed stays.
    world.abandoned_sessions = world.warehouse_status()["open_sessions"]
