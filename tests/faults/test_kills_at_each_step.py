"""kill -9 of the server that runs a job, at every step of the job; another server goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.faults.postgres import STEPS
from tests.faults.tables import LONG
from tests.faults.world import Replica, Run, World

from blade.v1.job_pb2 import Job
from blade_client.errors import BladeClientError
from blade_server.model import Action, Status, WaitReason


@pytest.fixture(autouse=True)
def _two_servers(world: World) -> None:
    world.serve("a", "b")


def _kill_owner(world: World, run: Run) -> Replica:
    owner = world.owner(run)
    world.kill(owner)
    world.restart(owner)
    return owner


@pytest.mark.parametrize("moment", ["before_the_commit", "in_the_commit"])
@pytest.mark.parametrize("step", STEPS)
def test_server_killed_while(world: World, step: str, moment: str) -> None:
    when, table = STEPS[step]
    run = world.start(items_per_second=2000)
    with world.postgres.gate(run.job_id, when, table=table, at_commit=moment == "in_the_commit") as gate:
        gate.wait_reached()
        _kill_owner(world, run)
        gate.open()
    world.check(run)


@pytest.mark.parametrize("moment", ["before_the_commit", "in_the_commit"])
def test_killed_while_claiming(world: World, moment: str) -> None:
    run = world.start(items_per_second=1000)
    world.until_moving(run)
    with world.postgres.gate(run.job_id, "NEW.epoch > OLD.epoch", at_commit=moment == "in_the_commit") as gate:
        first = _kill_owner(world, run)
        gate.wait_reached()
        (second,) = (replica for replica in world.replicas.values() if replica.up)
        world.kill(second)
        world.restart(second)
        gate.open()
    first.wait_ready()
    world.check(run)


def test_killed_while_rows_are_fetched(world: World) -> None:
    run = world.start(LONG)
    world.warehouse_faults(slow_fetch_ms=500)
    job = world.until_moving(run)
    assert job.processed_items < 16_000
    _kill_owner(world, run)
    world.warehouse_faults(slow_fetch_ms=0)
    world.check(run)


def test_killed_between_writing_down_and_sending(world: World) -> None:
    world.catalog_faults(status={"code": 429, "retry_after": 2, "only": "upload"})
    run = world.start()
    world.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
    assert world.held(run) == (0, 0)
    _kill_owner(world, run)
    world.clear_faults()
    world.check(run)


def test_killed_while_requests_are_on_their_way(world: World) -> None:
    world.catalog_faults(latency_ms=1500)
    run = world.start()
    world.wait(lambda: world.catalog_status()["concurrent"] >= 4)
    _kill_owner(world, run)
    world.catalog_faults(latency_ms=0)
    world.check(run)


def test_killed_after_the_upload_and_before_its_commit(world: World) -> None:
    run = world.start(items_per_second=4000)
    world.until_moving(run)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        recorded = world.job(run).success_count
        world.wait(lambda: world.held(run)[0] > recorded + 100)
        _kill_owner(world, run)
        gate.open()
    world.check(run)


def test_killed_while_replies_are_lost_after_storing(world: World) -> None:
    run = world.start(items_per_second=4000)
    world.until_moving(run)
    world.catalog_faults(drop_reply={"only": "upload"})
    world.wait(lambda: world.catalog_status()["injected"].get("drop_reply", 0) >= 4)
    _kill_owner(world, run)
    world.clear_faults()
    world.check(run)


@contextmanager
def _uploads_that_hang(world: World, run: Run) -> Iterator[None]:
    world.catalog_faults(hang={"only": "upload"})
    world.wait(lambda: world.catalog_status()["concurrent"] >= 2)
    yield
    world.clear_faults()


def test_killed_while_draining(world: World) -> None:
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    owner = world.owner(run)
    with _uploads_that_hang(world, run):
        world.terminate(owner)
        world.wait(lambda: "stopping: calls and uploads" in owner.output())
        world.kill(owner)
    world.restart(owner)
    world.check(run)


def test_killed_while_pausing(world: World) -> None:
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    with _uploads_that_hang(world, run):
        with world.client() as client:
            client.pause(run.job_id)
        world.until(run, lambda job: job.pending_action is Action.PAUSE)
        _kill_owner(world, run)
    # The pause was asked for, and whoever takes the job over keeps to it.
    paused = world.until(run, lambda job: job.status is Status.PAUSED)
    held = world.held(run)
    with world.client() as client:
        client.resume(run.job_id)
    assert paused.processed_items <= held[0]
    world.check(run)


@pytest.mark.parametrize("moment", ["before_the_commit", "in_the_commit"])
def test_killed_while_the_pause_is_written(world: World, moment: str) -> None:
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    with world.postgres.gate(run.job_id, "NEW.status = 'PAUSED'", at_commit=moment == "in_the_commit") as gate:
        with world.client() as client:
            client.pause(run.job_id)
        gate.wait_reached()
        _kill_owner(world, run)
        gate.open()
    world.until(run, lambda job: job.status is Status.PAUSED)
    with world.client() as client:
        client.resume(run.job_id)
    world.check(run)


def test_killed_while_paused(world: World) -> None:
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    with world.client() as client:
        client.pause(run.job_id)
    world.until(run, lambda job: job.status is Status.PAUSED)
    _kill_owner(world, run)
    with world.client() as client:
        client.resume(run.job_id)
    world.check(run)


def test_killed_while_cancelling(world: World) -> None:
    run = world.start(LONG, items_per_second=2000)
    world.until_moving(run)
    owner = world.owner(run)
    (other,) = (replica for replica in world.replicas.values() if replica is not owner)

    def cancel() -> None:
        with suppress(BladeClientError), world.client(other) as client:
            client.cancel(run.job_id, "the server dies meanwhile")

    with _uploads_that_hang(world, run):
        caller = threading.Thread(target=cancel)
        caller.start()
        world.until(run, lambda job: job.pending_action is Action.CANCEL)
        world.kill(owner)
        world.restart(owner)
        caller.join()
    # No upload starts after the answer.
    assert world.job(run).status is Status.CANCELLED
    uploads = world.catalog_status()["uploads"]
    owner.wait_ready()
    world.check(run, Job.CANCELLED)
    assert world.catalog_status()["uploads"] == uploads
