"""The runner's own thread: beats come first, whatever else is slow; rings are heard; a stop loses no lease."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise

import pytest
from sqlalchemy import text
from tests.support.access import called

from blade_server.core.engine.attempts import Attempts
from blade_server.core.engine.run import EngineTools
from blade_server.core.engine.runner import DEFERENCE_S, POLL_S, Runner
from blade_server.model import Display, Record, Status, WaitReason
from blade_server.storage.bell import Listener
from blade_server.storage.database import BELL, Database
from blade_server.storage.engine.leases import Leases
from blade_server.storage.engine.paces import PaceStore
from blade_server.storage.jobs.rows import QUEUE


class Counting(Leases):
    """Counts what a runner asks for."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.claims = 0
        self.beats = 0
        self.on_beat = lambda: None

    def claim_next(self, owner, lease_s):
        self.claims += 1
        return super().claim_next(owner, lease_s)

    def beat(self, owner, claims, lease_s):
        self.beats += 1
        self.on_beat()
        return super().beat(owner, claims, lease_s)


def with_stores(runner: Runner, **stores) -> EngineTools:
    """The tools of a runner, with these stores instead of its own."""
    tools = runner._tools
    return EngineTools.of(tools.policy, replace(tools.stores, **stores), tools.endpoints._catalogs)


@pytest.fixture
def counting_runner():
    """`counting_runner(world, settings)`: a runner and what counts its calls."""
    runners = []

    def make(world, settings=None):
        runner = world.runner(settings)
        runner.stop(5)
        counting = Counting(world.runners_own)
        own = Runner(with_stores(runner, leases=counting))
        runners.append(own)
        return own, counting

    yield make
    for runner in runners:
        runner.stop(5)


def test_only_jobs_that_wait_are_a_reason_to_look_for_one(make_world, counting_runner, wait_until, monkeypatch):
    world = make_world(10)
    runner, asked = counting_runner(world)
    monkeypatch.setattr("blade_server.core.engine.runner.POLL_S", 60.0)
    runner.start()
    wait_until(lambda: asked.claims == 1)
    for _ in range(100):
        runner.ring({"job-of-another-server"})
        threading.Event().wait(0.01)
    assert asked.claims == 1
    runner.ring({"job-of-another-server", QUEUE})
    wait_until(lambda: asked.claims == 2)


def test_a_runner_leaves_each_further_job_to_others_for_longer_and_takes_it_if_nobody_does(make_world, wait_until):
    world = make_world(10_000)
    jobs = [world.begin(items_per_second=100) for _ in range(4)]
    world.runner()
    wait_until(lambda: all(world.store.get(job.job_id).status is Status.RUNNING for job in jobs))
    query = "SELECT extract(epoch FROM time)::float8 FROM job_event WHERE kind = 'CLAIMED' ORDER BY time"
    with world.database.read() as connection:
        claimed_at = connection.execute(text(query)).scalars().all()
    gaps = [later - earlier for earlier, later in pairwise(claimed_at)]
    assert len(gaps) == 3
    assert all(gap > 0.9 * min(DEFERENCE_S * running, POLL_S) for running, gap in enumerate(gaps, start=1))


def test_an_idle_runner_takes_a_job_at_once_whatever_it_has_just_done(
    make_world, counting_runner, wait_until, monkeypatch
):
    world = make_world(10)
    for pause in ("POLL_S", "RING_REST_S"):
        monkeypatch.setattr(f"blade_server.core.engine.runner.{pause}", 60.0)
    runner, asked = counting_runner(world)
    runner.start()
    wait_until(lambda: asked.claims == 1)
    runner.ring({QUEUE})
    wait_until(lambda: asked.claims == 2, 5)
    job = world.begin()
    runner.ring({QUEUE})
    wait_until(lambda: world.store.get(job.job_id).status is Status.RUNNING, 5)


def test_a_job_that_is_over_holds_nobody_up_while_its_session_is_closed(make_world, ended, monkeypatch):
    world = make_world(10)
    for pause in ("POLL_S", "DEFERENCE_S", "LONGEST_DEFERENCE_S"):
        monkeypatch.setattr(f"blade_server.core.engine.runner.{pause}", 600.0)
    let_go, close = threading.Event(), Attempts.close
    monkeypatch.setattr(Attempts, "close", lambda attempts: let_go.wait(120) and close(attempts))
    world.runner()
    try:
        assert ended(world, world.begin()).status is Status.COMPLETED
        assert ended(world, world.begin()).status is Status.COMPLETED
    finally:
        let_go.set()


def test_a_job_that_waits_for_another_is_taken_as_soon_as_that_one_is_over(make_world, ended, wait_until, monkeypatch):
    world = make_world(30)
    for pause in ("POLL_S", "DEFERENCE_S", "LONGEST_DEFERENCE_S"):
        monkeypatch.setattr(f"blade_server.core.engine.runner.{pause}", 600.0)
    world.runner()
    first = world.begin(items_per_second=30, batch_size=1)
    wait_until(lambda: world.store.get(first.job_id).success_count)
    second = world.begin()
    assert ended(world, first).status is Status.COMPLETED
    assert ended(world, second).status is Status.COMPLETED


def test_what_changes_the_queue_rings_for_it(make_world, wait_until):
    world = make_world(10)
    heard: list[str] = []
    listener = Listener(world.database.url, heard.extend, lambda: heard.append("connected"))
    listener.start()
    wait_until(lambda: "connected" in heard)

    def heard_all() -> list[str]:
        """Rings come in the order of their commits: once this one is heard, so are all before it."""
        last = secrets.token_hex(4)
        with world.database.begin() as connection:
            connection.execute(text(f"SELECT pg_notify({BELL}, :last)"), {"last": last})
        wait_until(lambda: last in heard)
        return heard

    def rings(change) -> bool:
        heard_all().clear()
        job_id = change().job_id
        assert job_id in heard_all()
        return QUEUE in heard

    assert rings(world.begin)
    claim = world.leases.claim_next("me", 100)
    assert not rings(lambda: world.records.record(claim, Record(number=1, success=1, display=Display())) and claim)
    assert rings(lambda: world.claims.release(claim, "stopping") or claim)
    assert not rings(lambda: world.jobs.control.pause(claim.job_id, by=called("x")))
    assert rings(lambda: world.jobs.control.resume(claim.job_id, by=called("x")))
    claim = world.leases.claim_next("me", 100)
    assert rings(lambda: world.claims.finish(claim, Status.COMPLETED, operation="Completed") or claim)
    listener.stop()


def test_a_ring_that_comes_during_a_beat_is_heard_in_the_next_turn(make_world, counting_runner, wait_until):
    world = make_world(10_000)
    world.catalog.set_faults(latency_ms=2000)  # no records, which would hear of it too
    runner, asked = counting_runner(world, world.configured(lease_s=100, lease_beat_s=30))
    job = world.begin()
    runner.start()
    wait_until(lambda: asked.beats and world.store.get(job.job_id).status is Status.RUNNING)
    heard = asked.beats

    def rings() -> None:
        asked.on_beat = lambda: None
        runner.ring({job.job_id})

    asked.on_beat = rings
    runner.ring({job.job_id})
    wait_until(lambda: asked.beats >= heard + 2, 5)


def test_leases_are_kept_while_every_connection_of_the_jobs_is_taken(make_world, reaches, wait_until):
    world = make_world(10_000)
    world.runner(world.configured(lease_s=3.0, lease_beat_s=0.5))
    job = reaches(world, world.begin(items_per_second=200), lambda job: job.success_count)
    aside = Database(world.database.url)

    def lease_left() -> float:
        with aside.begin() as connection:
            query = "SELECT extract(epoch FROM lease_until - now())::float8 FROM job WHERE job_id = :id"
            return float(connection.execute(text(query), {"id": job.job_id}).scalar_one())

    with ExitStack() as taken:
        for _ in range(16):
            taken.enter_context(world.database.engine.connect())
        began = time.monotonic()
        while time.monotonic() - began < 5:
            assert lease_left() > 0
            threading.Event().wait(0.1)
    aside.close()


def test_a_throttle_that_cannot_be_asked_costs_no_lease(make_world, ended):
    world = make_world(600)
    runner = world.runner()
    runner.stop(5)
    nowhere = Database("postgresql://x@127.0.0.1:1/x")
    runner = Runner(with_stores(runner, holds=PaceStore(nowhere)))
    runner.start()
    world.runners.append(runner)
    job = ended(world, world.begin(items_per_second=120))  # longer than the lease
    assert (job.status, job.success_count) == (Status.COMPLETED, 600)
    nowhere.close()


@pytest.mark.slow
def test_no_lease_runs_out_while_a_stopping_server_waits_for_slow_uploads(make_world, reaches, wait_until):
    world = make_world(3000)
    settings = world.configured(lease_s=3.0, lease_beat_s=1.0, catalog_timeout_s=30, drain_timeout_s=20)
    runner = world.runner(settings)
    jobs = [world.begin(batch_size=20, workers=1, items_per_second=40) for _ in range(4)]
    for job in jobs:
        reaches(world, job, lambda job: job.success_count)
    world.catalog.set_faults(latency_ms=8000)
    wait_until(lambda: world.catalog.status()["concurrent"] == 4)
    stopping = threading.Thread(target=runner.stop, args=(25,))
    stopping.start()
    while stopping.is_alive():
        assert not [job for job in jobs if world.store.get(job.job_id).wait_reason is WaitReason.RECOVERING]
        stopping.join(0.1)
    assert {world.store.get(job.job_id).wait_reason for job in jobs} == {WaitReason.QUEUED}
