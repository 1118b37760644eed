"""kill -9 of the server that runs a job, at every step of the job; another server goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.faults.jobs import Run
from tests.faults.postgres import STEPS
from tests.faults.servers import Replica
from tests.faults.tables import LONG
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job
from blade_client.errors import BladeClientError
from blade_server.model import Action, Status, WaitReason


@pytest.fixture(autouse=True)
def _two_servers(world: FaultWorld) -> None:
    world.servers.serve("a", "b")


def _kill_owner(world: FaultWorld, run: Run) -> Replica:
    owner = world.jobs.owner(run)
    world.faults.kill(owner)
    world.servers.restart(owner)
    return owner


@pytest.mark.parametrize("moment", ["before_the_commit", "in_the_commit"])
@pytest.mark.parametrize("step", STEPS)
def test_server_killed_while(world: FaultWorld, step: str, moment: str) -> None:
    when, table = STEPS[step]
    run = world.jobs.start(items_per_second=2000)
    with world.postgres.gate(run.job_id, when, table=table, at_commit=moment == "in_the_commit") as gate:
        gate.wait_reached()
        _kill_owner(world, run)
        gate.open()
    world.checks.invariant(run)


@pytest.mark.parametrize("moment", ["before_the_commit", "in_the_commit"])
def test_killed_while_claiming(world: FaultWorld, moment: str) -> None:
    run = world.jobs.start(items_per_second=1000)
    world.jobs.until_moving(run)
    with world.postgres.gate(run.job_id, "NEW.epoch > OLD.epoch", at_commit=moment == "in_the_commit") as gate:
        first = _kill_owner(world, run)
        gate.wait_reached()
        (second,) = (replica for replica in world.servers.replicas.values() if replica.up)
        world.faults.kill(second)
        world.servers.restart(second)
        gate.open()
    first.wait_ready()
    world.checks.invariant(run)


def test_killed_while_rows_are_fetched(world: FaultWorld) -> None:
    run = world.jobs.start(LONG)
    world.faults.warehouse(slow_fetch_ms=500)
    job = world.jobs.until_moving(run)
    assert job.processed_items < 16_000
    _kill_owner(world, run)
    world.faults.warehouse(slow_fetch_ms=0)
    world.checks.invariant(run)


def test_killed_between_writing_down_and_sending(world: FaultWorld) -> None:
    world.faults.catalog(status={"code": 429, "retry_after": 2, "only": "upload"})
    run = world.jobs.start()
    world.jobs.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
    assert world.sandbox.held(run.data_source) == (0, 0)
    _kill_owner(world, run)
    world.faults.clear()
    world.checks.invariant(run)


def test_killed_while_requests_are_on_their_way(world: FaultWorld) -> None:
    world.faults.catalog(latency_ms=1500)
    run = world.jobs.start()
    wait_until(lambda: world.sandbox.catalog_status()["concurrent"] >= 4)
    _kill_owner(world, run)
    world.faults.catalog(latency_ms=0)
    world.checks.invariant(run)


def test_killed_after_the_upload_and_before_its_commit(world: FaultWorld) -> None:
    run = world.jobs.start(items_per_second=4000)
    world.jobs.until_moving(run)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        recorded = world.jobs.get(run).success_count
        wait_until(lambda: world.sandbox.held(run.data_source)[0] > recorded + 100)
        _kill_owner(world, run)
        gate.open()
    world.checks.invariant(run)


def test_killed_while_replies_are_lost_after_storing(world: FaultWorld) -> None:
    run = world.jobs.start(items_per_second=4000)
    world.jobs.until_moving(run)
    world.faults.catalog(drop_reply={"only": "upload"})
    wait_until(lambda: world.sandbox.catalog_status()["injected"].get("drop_reply", 0) >= 4)
    _kill_owner(world, run)
    world.faults.clear()
    world.checks.invariant(run)


@contextmanager
def _uploads_that_hang(world: FaultWorld, run: Run) -> Iterator[None]:
    world.faults.catalog(hang={"only": "upload"})
    wait_until(lambda: world.sandbox.catalog_status()["concurrent"] >= 2)
    yield
    world.faults.clear()


def test_killed_while_draining(world: FaultWorld) -> None:
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    with _uploads_that_hang(world, run):
        world.faults.terminate(owner)
        wait_until(lambda: "stopping: calls and uploads" in owner.output())
        world.faults.kill(owner)
    world.servers.restart(owner)
    world.checks.invariant(run)


def test_killed_while_pausing(world: FaultWorld) -> None:
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    with _uploads_that_hang(world, run):
        with world.servers.client() as client:
            client.pause(run.job_id)
        world.jobs.until(run, lambda job: job.pending_action is Action.PAUSE)
        _kill_owner(world, run)
    # The pause was asked for, and whoever takes the job over keeps to it.
    paused = world.jobs.until(run, lambda job: job.status is Status.PAUSED)
    held = world.sandbox.held(run.data_source)
    with world.servers.client() as client:
        client.resume(run.job_id)
    assert paused.processed_items <= held[0]
    world.checks.invariant(run)


@pytest.mark.parametrize("moment", ["before_the_commit", "in_the_commit"])
def test_killed_while_the_pause_is_written(world: FaultWorld, moment: str) -> None:
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    with world.postgres.gate(run.job_id, "NEW.status = 'PAUSED'", at_commit=moment == "in_the_commit") as gate:
        with world.servers.client() as client:
            client.pause(run.job_id)
        gate.wait_reached()
        _kill_owner(world, run)
        gate.open()
    world.jobs.until(run, lambda job: job.status is Status.PAUSED)
    with world.servers.client() as client:
        client.resume(run.job_id)
    world.checks.invariant(run)


def test_killed_while_paused(world: FaultWorld) -> None:
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    with world.servers.client() as client:
        client.pause(run.job_id)
    world.jobs.until(run, lambda job: job.status is Status.PAUSED)
    _kill_owner(world, run)
    with world.servers.client() as client:
        client.resume(run.job_id)
    world.checks.invariant(run)


def test_killed_while_cancelling(world: FaultWorld) -> None:
    run = world.jobs.start(LONG, items_per_second=2000)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    other = next(replica for replica in world.servers.replicas.values() if replica.up and replica is not owner)

    def cancel() -> None:
        with suppress(BladeClientError), world.servers.client(other) as client:
            client.cancel(run.job_id, "the server dies meanwhile")

    with _uploads_that_hang(world, run):
        caller = threading.Thread(target=cancel)
        caller.start()
        world.jobs.until(run, lambda job: job.pending_action is Action.CANCEL)
        world.faults.kill(owner)
        world.servers.restart(owner)
        caller.join()
    # No upload starts after the answer.
    assert world.jobs.get(run).status is Status.CANCELLED
    uploads = world.sandbox.catalog_status()["uploads"]
    owner.wait_ready()
    world.checks.invariant(run, Job.CANCELLED)
    assert world.sandbox.catalog_status()["uploads"] == uploads
