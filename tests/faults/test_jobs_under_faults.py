"""What callers ask of jobs, and tables that are not tidy, while servers die."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.faults.tables import DUPLICATES, LONG, SHORT, STEPS, WITHOUT_IDS
from tests.faults.world import World

from blade.v1.job_pb2 import JobEvent
from blade_server.model import Status


@pytest.mark.parametrize("table", [DUPLICATES, WITHOUT_IDS])
def test_counts_are_exact_after_kills(world: World, table: str) -> None:
    world.serve("a", "b")
    run = world.start(table, items_per_second=150, batch_size=50)
    for _ in range(3):
        processed = world.until_moving(run).processed_items
        world.until(run, lambda job, processed=processed: job.processed_items > processed)
        owner = world.owner(run)
        world.kill(owner)
        world.restart(owner)
        owner.wait_ready()
    world.set_rate(run)
    world.check(run)


def test_limits_are_changed_while_a_job_runs_and_changes_hands(world: World) -> None:
    first, second = world.serve("a", "b")
    run = world.start(LONG, items_per_second=50)
    world.until_moving(run)
    owner = world.owner(run)
    other = second if owner is first else first
    world.kill(owner)
    world.restart(owner)
    with world.client(other) as client:
        client.update_limits(run.job_id, items_per_second=6000, max_errors=3, reason="the night is ours")
        job = world.check(run)
        assert job.spec.limits.max_errors == 3
        changes = [event for event in job.history if event.kind == JobEvent.LIMITS_CHANGED]
        assert [(event.actor, event.reason) for event in changes] == [("faults", "the night is ours")]


def test_a_pause_outlasts_its_cursor_and_ends_on_another_server(world: World) -> None:
    world.serve("a", "b", pause_hold_s=0.5)
    run = world.start(items_per_second=1000)
    world.until_moving(run)
    owner = world.owner(run)
    with world.client() as client:
        client.pause(run.job_id)
    world.until(run, lambda job: job.status is Status.PAUSED)
    world.wait(lambda: not world.warehouse_status()["open_sessions"])
    world.wait(lambda: not world.owned_by(owner))
    world.terminate(owner)
    world.ended(owner)
    with world.client() as client:
        client.resume(run.job_id)
    world.check(run)
    assert world.claimed_by(run, 2)


def test_a_source_keeps_its_cap_and_starves_nobody(world: World) -> None:
    first, _ = world.serve("a", "b", max_running_jobs=2)
    capped = world.add_source(SHORT, max_running_jobs=1)
    other = world.add_source(STEPS)
    runs = [
        world.start(SHORT, source=capped, numbers=range(start, start + 200), items_per_second=400)
        for start in (0, 200, 400, 600)
    ]
    late = world.start(STEPS, source=other, numbers=range(300))
    world.until_moving(runs[0])
    world.kill(first)
    world.restart(first)
    world.check(late)
    for run in runs:
        world.check(run)
    # From each claim to the end of the job or to the next claim of the same job, nothing else of the source ran.
    spans = world.postgres.ask(
        "SELECT job_id, min(time), max(time) FROM job_event JOIN job USING (job_id)"
        " WHERE source = %s AND kind IN ('CLAIMED', 'COMPLETED') GROUP BY job_id ORDER BY 2",
        capped,
    )
    assert all(ended <= begun for (_, _, ended), (_, begun, _) in pairwise(spans)), spans
    (began,) = world.postgres.ask("SELECT start_time FROM job WHERE job_id = %s", late.job_id)
    assert began[0] < spans[-1][1]


def test_sources_take_turns_over_two_servers(world: World) -> None:
    world.serve("a", "b", max_running_jobs=1)
    many, few = world.add_source(STEPS), world.add_source(SHORT)
    queue = [
        world.start(STEPS, source=many, numbers=range(start, start + 300), items_per_second=600)
        for start in range(0, 2400, 300)
    ]
    late = [world.start(SHORT, source=few, numbers=range(start, start + 300)) for start in (0, 300)]
    for run in [*late, *queue]:
        world.check(run)
    began = [job_id for (job_id,) in world.postgres.ask("SELECT job_id FROM job ORDER BY start_time DESC NULLS LAST")]
    # The newest first: the last of the long queue began after both of the short one.
    assert min(began.index(run.job_id) for run in late) > min(began.index(run.job_id) for run in queue[4:])
