"""The warehouse: killed, slow, starting, forgetting its sessions, sending short."""

from __future__ import annotations

import pytest
from tests.faults.tables import LONG
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.job_pb2 import Job
from blade_server.model import WaitReason


@pytest.fixture(autouse=True)
def _one_server(world: FaultWorld) -> None:
    world.servers.serve("a", retry_base_s=1.0)


def test_killed_and_started_again_in_the_middle_of_a_result(world: FaultWorld) -> None:
    world.faults.warehouse(slow_fetch_ms=400)
    run = world.jobs.start(LONG)
    job = world.jobs.until_moving(run)
    assert job.processed_items < 16_000
    world.faults.kill_warehouse()
    world.sandbox.start_missing()
    world.checks.invariant(run)


def test_killed_before_the_rows_are_counted(world: FaultWorld) -> None:
    source = world.jobs.add_source()
    world.faults.warehouse(slow_execute_ms=1000)
    run = world.jobs.start(source=source)
    wait_until(lambda: world.sandbox.warehouse_status()["running_operations"])
    world.faults.kill_warehouse()
    world.sandbox.start_missing()
    world.checks.invariant(run)


def test_slower_than_the_lease(world: FaultWorld) -> None:
    source = world.jobs.add_source()
    world.faults.warehouse(slow_execute_ms=2300)
    run = world.jobs.start(source=source)
    world.checks.invariant(run)
    assert not world.jobs.claimed_by(run, 2)  # a slow batch is not a dead worker


@pytest.mark.parametrize("when", ["while_reading", "before_planning"])
def test_sessions_expire(world: FaultWorld, when: str) -> None:
    source = world.jobs.add_source(LONG)
    world.faults.warehouse(**{"slow_fetch_ms" if when == "while_reading" else "slow_execute_ms": 500})
    run = world.jobs.start(LONG, source=source)
    if when == "while_reading":
        world.jobs.until_moving(run)
    else:
        wait_until(lambda: world.sandbox.warehouse_status()["running_operations"])
    world.faults.warehouse(expire_sessions=True)
    world.checks.invariant(run)


def test_a_short_result_fails_the_job(world: FaultWorld) -> None:
    source = world.jobs.add_source()
    world.faults.warehouse(short_result={"rows": 3})
    run = world.jobs.start(source=source)
    job = world.checks.invariant(run, Job.FAILED)
    assert job.error.reason == ErrorReason.ERROR_REASON_RESULT_TRUNCATED
    assert (job.total_items, job.success_count) == (3000, 2997)


@pytest.mark.parametrize("rows", ["of_the_count", "of_the_result"])
def test_an_answer_with_rows_is_lost(world: FaultWorld, rows: str) -> None:
    """The driver asks again by itself and gets the rows behind it: those in the lost answer are missing."""
    source = world.jobs.add_source(LONG)
    if rows == "of_the_count":
        world.faults.warehouse(drop_reply={"count": 1, "call": "FetchResults"})
        run = world.jobs.start(LONG, source=source)
    else:
        with world.postgres.gate("", "NEW.plan <> OLD.plan") as gate:  # before the job: its plan may be quick
            run = world.jobs.start(LONG, source=source)
            gate.wait_reached()
            world.faults.warehouse(drop_reply={"count": 1, "call": "FetchResults"})
    job = world.checks.invariant(run)
    assert job.error_count == 0


def test_starting_for_a_while(world: FaultWorld) -> None:
    source = world.jobs.add_source()
    world.faults.warehouse(starting={"seconds": 4})
    run = world.jobs.start(source=source)
    world.jobs.until(run, lambda job: job.wait_reason is WaitReason.WAREHOUSE_STARTING)
    world.checks.invariant(run)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("call", ["OpenSession", "ExecuteStatement", "FetchResults", "CloseSession"])
@pytest.mark.parametrize("fault", ["drop_reply", "fail_next"])
def test_a_call_fails(world: FaultWorld, fault: str, call: str, count: int) -> None:
    source = world.jobs.add_source()
    world.faults.warehouse(**{fault: {"count": count, "call": call} | ({"code": 500} if fault == "fail_next" else {})})
    run = world.jobs.start(source=source)
    world.checks.invariant(run)
    # A session whose opening was not answered is known to nobody, and one that is not closed stays.
    world.faults.abandon_sessions()
