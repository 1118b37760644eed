"""Wall clocks that jump, of a server and of PostgreSQL, by an hour to and fro."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.world import FaultWorld

HOUR_S = 3600


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_the_clock_of_a_server_jumps(world: FaultWorld, tmp_path: Path, jump_s: int) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    world.servers.serve("a", "b", fault_clock=clock, pythonpath=Path(__file__).parent / "clock")
    run = world.jobs.start(items_per_second=1000)
    world.jobs.until_moving(run)
    world.scenario.faults["the clock of the servers jumps"] += 1
    clock.write_text(str(jump_s))
    processed = world.jobs.get(run).processed_items
    world.jobs.until(run, lambda job: job.processed_items > processed)
    owner = world.jobs.owner(run)
    world.faults.kill(owner)
    world.servers.restart(owner)
    world.checks.invariant(run)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_the_clock_of_postgresql_jumps(world: FaultWorld, jump_s: int) -> None:
    """What a jump does to a lease: its end, written before, lies as far from now as the clock has jumped."""
    world.servers.serve("a", "b")
    run = world.jobs.start(items_per_second=1000)
    world.jobs.until_moving(run)
    for _ in range(3):
        world.scenario.faults["the clock of PostgreSQL jumps"] += 1
        world.postgres.ask(
            "UPDATE job SET lease_until = lease_until - make_interval(secs => %s) WHERE job_id = %s",
            jump_s,
            run.job_id,
        )
        processed = world.jobs.get(run).processed_items
        world.jobs.until(run, lambda job, processed=processed: job.processed_items > processed)
    world.jobs.set_rate(run)
    world.checks.invariant(run)


def test_a_server_dies_after_the_clock_of_postgresql_went_back(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    run = world.jobs.start(items_per_second=1000)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        owner = world.jobs.owner(run)
        world.faults.kill(owner)
        gate.open()
    world.scenario.faults["the clock of PostgreSQL jumps"] += 1
    world.postgres.ask("UPDATE job SET lease_until = lease_until + interval '1 hour' WHERE job_id = %s", run.job_id)
    world.servers.restart(owner)
    world.checks.invariant(run)
