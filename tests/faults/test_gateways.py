"""Gateways that give up before the catalog does, which keeps every copy and knows no idempotency key."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.faults.tables import SHORT
from tests.faults.twisted import Answered, Asked, TwistedCatalog, straight
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job
from blade_server.model import Status, WaitReason

SETTLE_S = 4.0


@pytest.fixture(scope="module")
def _gateway(_world: FaultWorld) -> Iterator[TwistedCatalog]:
    with TwistedCatalog(_world.sandbox.world.catalog_url) as catalog:
        yield catalog


@pytest.fixture
def gateway(world: FaultWorld, _gateway: TwistedCatalog) -> Iterator[TwistedCatalog]:
    _gateway.twist, _gateway.struck = straight, 0
    yield _gateway
    _gateway.twist = straight
    world.scenario.faults["gateway: gives up before the catalog"] += _gateway.struck


@pytest.mark.parametrize(
    ("after_s", "stores_after_s", "status"),
    [(0.1, 2.5, None), (0.1, 2.5, 504), (1.2, 3.0, 500), (9.0, 3.5, None)],
    ids=["closes", "504", "a_late_500", "later_than_the_time_limit"],
)
def test_an_item_that_the_catalog_stores_later_is_not_sent_again(
    world: FaultWorld, gateway: TwistedCatalog, after_s: float, stores_after_s: float, status: int | None
) -> None:
    world.servers.serve("a", catalog_url=gateway.url, catalog_settle_s=SETTLE_S)
    gateway.gives_up(4, after_s, stores_after_s, status)
    run = world.jobs.start(SHORT, batch_size=50)
    job = world.checks.invariant(run)
    gateway.wait_late()
    assert world.sandbox.held(run.data_source) == (800, 800)
    assert (job.error_count, job.success_count, gateway.struck) == (0, 800, 4)


def test_others_go_on_while_items_wait_and_the_end_of_the_job_says_what_it_waits_for(
    world: FaultWorld, gateway: TwistedCatalog
) -> None:
    """More requests go wrong than there are upload threads; each is lost for good and sent again."""
    world.servers.serve("a", catalog_url=gateway.url, catalog_settle_s=SETTLE_S, upload_workers=2)
    gateway.strikes(6, lambda _: Answered(reset=True))
    run = world.jobs.start(SHORT, batch_size=50)
    began = time.monotonic()
    waiting = world.jobs.until(run, lambda job: job.wait_reason is WaitReason.RETRY_BACKOFF)
    assert time.monotonic() - began < SETTLE_S
    assert waiting.success_count == 500
    assert "300 items wait" in waiting.wait_detail
    job = world.checks.invariant(run)
    assert (job.error_count, job.success_count) == (0, 800)


def test_a_catalog_that_never_takes_an_item_in_time_ends_the_job_with_an_error_for_it(
    world: FaultWorld, gateway: TwistedCatalog
) -> None:
    def poison(asked: Asked) -> Answered:
        struck = asked.uploads and b'"ITEM-000123"' in asked.body
        gateway.struck += struck
        return Answered(status=504) if struck else asked.pass_on()

    gateway.twist = poison
    world.servers.serve("a", catalog_url=gateway.url, catalog_settle_s=2)
    run = world.jobs.start(SHORT)
    job = world.checks.invariant(run)
    assert (job.error_count, job.success_count) == (1, 799)
    assert gateway.struck <= 6


@pytest.mark.parametrize("how", ["pause", "cancel", "stop"])
def test_a_job_whose_items_wait_can_be(world: FaultWorld, gateway: TwistedCatalog, how: str) -> None:
    """At once; what waits is looked up by whoever goes on, and not sent again before it is sure not to be stored."""
    world.servers.serve("a", "b", catalog_url=gateway.url, catalog_settle_s=6)
    gateway.gives_up(4, 0.1, 4.5)
    run = world.jobs.start(SHORT, batch_size=50)
    world.jobs.until(run, lambda job: job.success_count == 600 and job.wait_reason is WaitReason.RETRY_BACKOFF)
    began = time.monotonic()
    with world.servers.client() as client:
        if how == "cancel":
            client.cancel(run.job_id)
            world.checks.invariant(run, Job.CANCELLED)
        elif how == "pause":
            client.pause(run.job_id)
            world.jobs.until(run, lambda job: job.status is Status.PAUSED)
            client.resume(run.job_id)
        else:
            world.faults.terminate(owner := world.jobs.owner(run))
            owner.wait_ended()
            wait_until(lambda: world.jobs.claimed_by(run, 2))
    assert time.monotonic() - began < 3
    if how != "cancel":
        assert world.checks.invariant(run).error_count == 0
    gateway.wait_late()
    assert world.sandbox.held(run.data_source) == (800, 800)


def test_a_server_that_dies_while_items_wait_leaves_them_to_another(world: FaultWorld, gateway: TwistedCatalog) -> None:
    world.servers.serve("a", "b", catalog_url=gateway.url, catalog_settle_s=SETTLE_S)
    gateway.gives_up(4, 0.1, 5.0)
    run = world.jobs.start(SHORT, batch_size=50)
    world.jobs.until(run, lambda job: job.success_count == 600)
    owner = world.jobs.owner(run)
    world.faults.kill(owner)
    world.servers.restart(owner)
    assert world.checks.invariant(run).error_count == 0
    gateway.wait_late()
    assert world.sandbox.held(run.data_source) == (800, 800)


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("replace", [True, False])
def test_a_catalog_that_bears_repeats_gets_them_at_once(make_world, ended, batch: bool, replace: bool) -> None:
    """It replaces by id, or honours the idempotency key: of a request that it stores later, too."""
    world = make_world(200, replace=replace, batch=batch, idempotency_keys=0 if replace else 10_000)
    with TwistedCatalog(world.catalog.url) as gateway:
        world.settings = world.configured(catalog_url=gateway.url, catalog_settle_s=3600.0)
        gateway.gives_up(4, 0.1, 1.5)
        world.runner()
        job = ended(world, world.begin(batch_size=50))
        gateway.wait_late()
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 200, 0)
    assert set(world.held().values()) == {1}
