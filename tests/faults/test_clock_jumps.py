"""Wall clocks that jump, of a server and of PostgreSQL, by an hour to and fro."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.faults.servers import Replica
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job

HOUR_S = 3600


class Clocks:
    """The wall clocks of the servers, apart from all others."""

    def __init__(self, world: FaultWorld, folder: Path) -> None:
        self._world = world
        self._folder = folder

    def serve(self, *names: str, **settings: object) -> list[Replica]:
        clock = Path(__file__).parent / "clock"
        return self._world.servers.serve(*names, fault_clock=self._folder, pythonpath=clock, **settings)

    def turn(self, seconds: float, replica: Replica | None = None) -> None:
        """Of this server, or of all."""
        self._world.faults.note("the clock of a server jumps", f"{seconds} s")
        name = self._folder / (str(replica.part.pid) if replica else "all")
        new = name.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(name)


@pytest.fixture
def clocks(world: FaultWorld, tmp_path: Path) -> Clocks:
    return Clocks(world, tmp_path)


def _ready(replica: Replica) -> bool:
    with grpc.insecure_channel(replica.target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("jump_s", [2 * HOUR_S, -2 * HOUR_S])
def test_a_server_whose_clock_is_wrong_leaves_its_jobs_to_others(
    world: FaultWorld, clocks: Clocks, jump_s: int
) -> None:
    clocks.serve("a", "b")
    run = world.jobs.start(items_per_second=300)
    world.jobs.until_moving(run)
    wrong = world.jobs.owner(run)
    clocks.turn(jump_s, wrong)
    other = next(replica for replica in world.servers.replicas.values() if replica is not wrong)
    world.jobs.until(run, lambda _: world.jobs.owned_by(other))
    wait_until(lambda: not _ready(wrong))
    assert _ready(other)
    assert f"7200 s {'ahead of' if jump_s > 0 else 'behind'} PostgreSQL's" in wrong.output()
    with world.servers.client(wrong) as client:  # calls are answered all the same
        assert client.get_job(run.job_id).status == Job.RUNNING
    clocks.turn(0, wrong)
    wait_until(lambda: _ready(wrong))
    world.faults.kill(other)
    world.jobs.until(run, lambda _: world.jobs.owned_by(wrong))
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0
    world.servers.restart(other)
    other.wait_ready()


def test_a_server_that_starts_with_a_wrong_clock_runs_nothing_until_it_is_right(
    world: FaultWorld, clocks: Clocks
) -> None:
    clocks.turn(2 * HOUR_S)
    (server,) = clocks.serve("a", workers=1)
    wait_until(lambda: not _ready(server))
    run = world.jobs.start()
    clocks.turn(0)
    assert world.checks.invariant(run).error_count == 0
    assert world.jobs.claimed_by(run, 1)
    wait_until(lambda: _ready(server))


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
