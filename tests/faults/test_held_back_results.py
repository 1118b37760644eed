"""Results that are other when they are read again: in another order, of more or fewer rows, with other columns."""

from __future__ import annotations

import pytest
from tests.faults.jobs import Run
from tests.faults.tables import LONG, STEPS
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.job_pb2 import Job

VIEW = "main.faults.seen"
"""A view has no versions: whoever runs a job over it next sees it as it is then."""


@pytest.fixture(autouse=True)
def _two_servers(world: FaultWorld) -> None:
    world.servers.serve("a", "b")


def _show(world: FaultWorld, query: str) -> None:
    world.sandbox.run_sql(f"CREATE OR REPLACE VIEW {VIEW} AS {query}")


def _start(world: FaultWorld, query: str, **job: object) -> Run:
    _show(world, query)
    return world.jobs.start(STEPS, source=world.jobs.add_source(VIEW), **job)


def _kill_owner(world: FaultWorld, run: Run) -> None:
    owner = world.jobs.owner(run)
    world.faults.kill(owner)
    world.servers.restart(owner)


def test_rows_come_in_another_order_each_time(world: FaultWorld) -> None:
    run = _start(world, f"SELECT * FROM {STEPS} ORDER BY rand()", items_per_second=800)
    for share in (0.1, 0.4):
        world.jobs.until_moving(run, share)
        _kill_owner(world, run)
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0
    assert world.jobs.claimed_by(run, 3)


@pytest.mark.parametrize(("counted", "read"), [(2000, 3000), (3000, 2000)], ids=["more", "fewer"])
def test_rows_are_added_or_taken_away_before_it_is_read_again(world: FaultWorld, counted: int, read: int) -> None:
    run = _start(world, f"SELECT * FROM {STEPS} WHERE number < {counted} ORDER BY number", items_per_second=800)
    world.jobs.until_moving(run, 0.1)
    _show(world, f"SELECT * FROM {STEPS} WHERE number < {read}")
    _kill_owner(world, run)
    wait_until(lambda: world.jobs.claimed_by(run, 2))
    run.numbers = range(read)
    world.jobs.set_rate(run)
    job = world.checks.invariant(run)
    assert (job.total_items, job.success_count) == (read, read)


def test_columns_come_in_another_order_after_a_take_over(world: FaultWorld) -> None:
    run = _start(world, f"SELECT * FROM {STEPS}", items_per_second=800)
    world.jobs.until_moving(run, 0.1)
    _show(
        world,
        "SELECT last_modified, number, classification, remark, item_id, hours, tail_number"
        f" FROM {STEPS} ORDER BY number DESC",
    )
    _kill_owner(world, run)
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0


def test_a_column_is_gone_after_a_take_over(world: FaultWorld) -> None:
    run = _start(world, f"SELECT * FROM {STEPS}", items_per_second=800)
    world.jobs.until_moving(run, 0.1)
    _show(world, f"SELECT * EXCEPT (classification) FROM {STEPS}")
    _kill_owner(world, run)
    job = world.checks.invariant(run, Job.FAILED)
    assert job.error.reason == ErrorReason.ERROR_REASON_MISSING_COLUMN
    assert "classification" in job.error.message


@pytest.mark.parametrize("code", [403, 404, 500, 503])
def test_links_to_result_files_have_expired(world: FaultWorld, code: int) -> None:
    source = world.jobs.add_source(LONG)
    world.faults.warehouse(fail_next={"count": 2, "code": code, "call": "download"})
    run = world.jobs.start(LONG, source=source)
    assert world.checks.invariant(run).error_count == 0
