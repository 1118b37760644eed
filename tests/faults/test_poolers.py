"""A real PgBouncer with its defaults between the servers and PostgreSQL, in both of its modes: the promises hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.faults.tables import SHORT
from tests.faults.world import FaultWorld
from tests.support.pooler import pgbouncer
from tests.support.waiting import wait_until

from blade.v1.sync_pb2 import Sync, SyncSpec
from blade_server.model import Status

CONNECTIONS = 4
"""Of a server's pool: in session mode each connection takes one of the twenty that PgBouncer makes by default."""


@pytest.fixture(scope="module", params=["session", "transaction"])
def mode(_world: FaultWorld, request: pytest.FixtureRequest) -> Iterator[str]:
    """What is started in here meets PostgreSQL behind a pooler in this mode."""
    _stop_all(_world)
    with pgbouncer(_world.postgres.url, request.param) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_world.postgres, "url", url)
        yield request.param
        _stop_all(_world)


@pytest.fixture(autouse=True)
def _two_servers(world: FaultWorld, mode: str) -> None:
    world.servers.serve("a", "b", database_pool_size=CONNECTIONS)


def _stop_all(world: FaultWorld) -> None:
    for replica in world.servers.replicas.values():
        replica.stop()


def test_a_job_is_watched_paused_resumed_and_taken_over(world: FaultWorld, mode: str) -> None:
    run = world.jobs.start(items_per_second=1500)
    world.jobs.until_moving(run)
    with world.servers.client() as client:
        client.pause(run.job_id)
        world.jobs.until(run, lambda job: job.status is Status.PAUSED)
        client.resume(run.job_id)
    paused_at = world.jobs.get(run).processed_items
    world.jobs.until(run, lambda job: job.processed_items > paused_at)
    owner = world.jobs.owner(run)
    world.faults.kill(owner)
    world.servers.restart(owner)
    world.jobs.set_rate(run)
    world.checks.invariant(run)
    owner.wait_ready()
    for replica in world.servers.replicas.values():
        if replica.up:
            assert f"a pooler in {mode} mode stands in front of PostgreSQL" in replica.output()
            assert "Traceback" not in replica.output()


def test_a_sync_runs_and_knows_what_it_sent(world: FaultWorld) -> None:
    source = world.jobs.add_source(SHORT)
    with world.servers.client() as client:
        client.syncs.create(Sync(name=source, spec=SyncSpec(source=source)))
        for sent, unchanged in ((800, 0), (0, 800)):
            job_id = client.syncs.run(source).job_id
            wait_until(lambda job_id=job_id: world.jobs.store.get(job_id).status.final)
            job = client.get_job(job_id)
            assert Status[job.Status.Name(job.status)] is Status.COMPLETED
            assert (job.sync_report.counts.created, job.sync_report.counts.unchanged) == (sent, unchanged)
    items = world.sandbox.items(f"BLADE:{source}")
    assert [item["copies"] for item in items] == [1] * 800
