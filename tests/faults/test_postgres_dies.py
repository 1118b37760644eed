"""PostgreSQL: killed and restarted at once, breaking connections off, read-only for a while."""

from __future__ import annotations

import pytest
from tests.faults.postgres import STEPS
from tests.faults.tables import LONG
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job
from blade_server.model import Status


@pytest.fixture(autouse=True)
def _two_servers(world: FaultWorld) -> None:
    world.servers.serve("a", "b")


def test_killed_while_nothing_runs(world: FaultWorld) -> None:
    world.faults.kill_postgres()
    run = world.jobs.start()
    world.checks.invariant(run)


def test_killed_several_times_while_a_job_runs(world: FaultWorld) -> None:
    run = world.jobs.start(LONG, items_per_second=3000)
    for share in (0.1, 0.3, 0.5, 0.7):
        world.jobs.until_moving(run, share)
        world.faults.kill_postgres()
    world.checks.invariant(run)


@pytest.mark.parametrize("moment", ["before_the_commit", "in_the_commit"])
@pytest.mark.parametrize("step", STEPS)
def test_postgresql_killed_while(world: FaultWorld, step: str, moment: str) -> None:
    when, table = STEPS[step]
    run = world.jobs.start(items_per_second=2000)
    with world.postgres.gate(run.job_id, when, table=table, at_commit=moment == "in_the_commit") as gate:
        gate.wait_reached()
        world.faults.kill_postgres()
    world.checks.invariant(run)


def test_killed_after_a_commit_and_before_its_answer(world: FaultWorld) -> None:
    run = world.jobs.start(items_per_second=2000)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        with world.postgres.commits_unanswered():
            gate.open()
            wait_until(lambda: world.postgres.unanswered("job_block"))
            world.faults.kill_postgres()
    world.checks.invariant(run)


def test_killed_while_a_job_is_paused_and_cancelled(world: FaultWorld) -> None:
    run = world.jobs.start(LONG, items_per_second=2000)
    world.jobs.until_moving(run)
    with world.postgres.gate(run.job_id, "NEW.status = 'PAUSED'") as gate:
        with world.servers.client() as client:
            client.pause(run.job_id)
        gate.wait_reached()
        world.faults.kill_postgres()
    world.jobs.until(run, lambda job: job.status is Status.PAUSED)
    world.faults.kill_postgres()
    with world.servers.client() as client:
        client.resume(run.job_id)
        client.cancel(run.job_id)
    world.faults.kill_postgres()
    world.checks.invariant(run, Job.CANCELLED)


def test_every_connection_is_broken_off_again_and_again(world: FaultWorld) -> None:
    run = world.jobs.start(LONG, items_per_second=4000)
    for share in (0.1, 0.25, 0.4, 0.55, 0.7):
        world.jobs.until_moving(run, share)
        world.faults.break_connections()
    world.checks.invariant(run)


def test_read_only_for_a_while(world: FaultWorld) -> None:
    """As after a failover to a standby that is not promoted yet."""
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    with world.postgres.read_only():
        world.scenario.faults["PostgreSQL is read-only"] += 1
        wait_until(lambda: any("read-only" in replica.output() for replica in world.servers.replicas.values()))
    world.checks.invariant(run)
