"""What callers ask of jobs, and tables that are not tidy, while servers die."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.faults.tables import DUPLICATES, LONG, SHORT, STEPS, WITHOUT_IDS
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import JobEvent
from blade_server.model import Status


@pytest.mark.parametrize("table", [DUPLICATES, WITHOUT_IDS])
def test_counts_are_exact_after_kills(world: FaultWorld, table: str) -> None:
    world.servers.serve("a", "b")
    run = world.jobs.start(table, items_per_second=150, batch_size=50)
    for _ in range(3):
        processed = world.jobs.until_moving(run).processed_items
        world.jobs.until(run, lambda job, processed=processed: job.processed_items > processed)
        owner = world.jobs.owner(run)
        world.faults.kill(owner)
        world.servers.restart(owner)
        owner.wait_ready()
    world.jobs.set_rate(run)
    world.checks.invariant(run)


def test_limits_are_changed_while_a_job_runs_and_changes_hands(world: FaultWorld) -> None:
    first, second = world.servers.serve("a", "b")
    run = world.jobs.start(LONG, items_per_second=50)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    other = second if owner is first else first
    world.faults.kill(owner)
    world.servers.restart(owner)
    with world.servers.client(other) as client:
        client.update_limits(run.job_id, items_per_second=6000, max_errors=3, reason="the night is ours")
        job = world.checks.invariant(run)
        assert job.spec.limits.max_errors == 3
        changes = [event for event in job.history if event.kind == JobEvent.LIMITS_CHANGED]
        assert [(event.actor, event.reason) for event in changes] == [("admin (faults)", "the night is ours")]


def test_a_pause_outlasts_its_cursor_and_ends_on_another_server(world: FaultWorld) -> None:
    world.servers.serve("a", "b", pause_hold_s=0.5)
    run = world.jobs.start(items_per_second=1000)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    with world.servers.client() as client:
        client.pause(run.job_id)
    world.jobs.until(run, lambda job: job.status is Status.PAUSED)
    wait_until(lambda: not world.sandbox.warehouse_status()["open_sessions"])
    wait_until(lambda: not world.jobs.owned_by(owner))
    world.faults.terminate(owner)
    owner.wait_ended()
    with world.servers.client() as client:
        client.resume(run.job_id)
    world.checks.invariant(run)
    assert world.jobs.claimed_by(run, 2)


def test_a_source_keeps_its_cap_and_starves_nobody(world: FaultWorld) -> None:
    first, _ = world.servers.serve("a", "b", max_running_jobs=2)
    capped = world.jobs.add_source(SHORT, max_running_jobs=1)
    other = world.jobs.add_source(STEPS)
    runs = [
        world.jobs.start(SHORT, source=capped, numbers=range(start, start + 200), items_per_second=400)
        for start in (0, 200, 400, 600)
    ]
    late = world.jobs.start(STEPS, source=other, numbers=range(300))
    world.jobs.until_moving(runs[0])
    world.faults.kill(first)
    world.servers.restart(first)
    world.checks.invariant(late)
    for run in runs:
        world.checks.invariant(run)
    # From each claim to the end of the job or to the next claim of the same job, nothing else of the source ran.
    spans = world.postgres.ask(
        "SELECT job_id, min(time), max(time) FROM job_event JOIN job USING (job_id)"
        " WHERE source = %s AND job_event.kind IN ('CLAIMED', 'COMPLETED') GROUP BY job_id ORDER BY 2",
        capped,
    )
    assert all(ended <= begun for (_, _, ended), (_, begun, _) in pairwise(spans)), spans
    (began,) = world.postgres.ask("SELECT start_time FROM job WHERE job_id = %s", late.job_id)
    assert began[0] < spans[-1][1]


def test_sources_take_turns_over_two_servers(world: FaultWorld) -> None:
    world.servers.serve("a", "b", max_running_jobs=1)
    many, few = world.jobs.add_source(STEPS), world.jobs.add_source(SHORT)
    queue = [
        world.jobs.start(STEPS, source=many, numbers=range(start, start + 300), items_per_second=600)
        for start in range(0, 2400, 300)
    ]
    late = [world.jobs.start(SHORT, source=few, numbers=range(start, start + 300)) for start in (0, 300)]
    for run in [*late, *queue]:
        world.checks.invariant(run)
    began = [job_id for (job_id,) in world.postgres.ask("SELECT job_id FROM job ORDER BY start_time DESC NULLS LAST")]
    # The newest first: the last of the long queue began after both of the short one.
    assert min(began.index(run.job_id) for run in late) > min(began.index(run.job_id) for run in queue[4:])
