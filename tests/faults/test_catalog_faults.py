"""The catalog: errors, storms, silence, lost replies, poison, and none at all for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.faults.poison import PoisonousCatalog
from tests.faults.tables import SHORT
from tests.faults.world import FaultWorld

from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.job_pb2 import Job
from blade_server.model import WaitReason


@pytest.mark.parametrize(
    "fault",
    [
        {"status": {"code": 500, "rate": 0.3, "count": 30}},
        {"status": {"code": 502, "count": 12, "only": "upload"}},
        {"status": {"code": 503, "count": 12}},
        {"status": {"code": 408, "count": 12, "only": "upload"}},
        {"hang": {"count": 3}},
        {"reset_after_body": {"count": 10}},
        {"drop_reply": {"count": 10}},
        {"drop_reply": {"rate": 0.3, "count": 20}, "status": {"code": 500, "rate": 0.5, "count": 20, "only": "lookup"}},
    ],
    ids=[
        "500_now_and_then",
        "502",
        "503",
        "408",
        "hang",
        "reset_after_body",
        "lost_replies",
        "lost_replies_and_look_ups",
    ],
)
def test_a_fault_that_passes_costs_no_item(world: FaultWorld, fault: dict[str, object]) -> None:
    world.servers.serve("a")
    run = world.jobs.start(items_per_second=4000)
    world.jobs.until_moving(run)
    world.faults.catalog(**fault)
    job = world.checks.invariant(run)
    assert job.error_count == 0


def test_a_storm_of_429_slows_down_and_costs_no_item(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    runs = [world.jobs.start(items_per_second=1000), world.jobs.start(items_per_second=1000)]
    for run in runs:
        world.jobs.until_moving(run, 0.1)
    world.faults.catalog(status={"code": 429, "retry_after": 1, "count": 6, "only": "upload"})
    world.jobs.until(runs[0], lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
    for run in runs:
        assert world.checks.invariant(run, timeout_s=90).error_count == 0


@pytest.mark.parametrize("how", ["refuses_connections", "killed"])
def test_a_job_waits_for_a_catalog_that_is_down(world: FaultWorld, how: str) -> None:
    world.servers.serve("a")
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    if how == "killed":
        world.faults.kill_catalog()
    else:
        world.faults.catalog(down={"seconds": 4})
    world.jobs.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    if how == "killed":
        world.sandbox.start_missing()
    assert world.checks.invariant(run, timeout_s=20).error_count == 0


def test_a_job_waits_for_a_catalog_that_only_fails(world: FaultWorld) -> None:
    """Its health check fails too: the items are not at fault."""
    world.servers.serve("a")
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    world.faults.catalog(status={"code": 500})
    world.jobs.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    world.faults.clear()
    assert world.checks.invariant(run).error_count == 0


@pytest.fixture
def poisonous(world: FaultWorld) -> Iterator[PoisonousCatalog]:
    with PoisonousCatalog(world.sandbox.world.catalog_url, ["ITEM-000123", "ITEM-000124", "ITEM-000700"]) as catalog:
        yield catalog


def test_poison_items_stand_alone_in_the_end(world: FaultWorld, poisonous: PoisonousCatalog) -> None:
    world.servers.serve("a", catalog_url=poisonous.url)
    run = world.jobs.start(SHORT)
    job = world.checks.invariant(run)
    world.scenario.faults["catalog: 500 for certain items for ever"] += poisonous.struck
    assert (job.error_count, job.success_count) == (3, 797)
    assert {sample.item_id for summary in job.error_summaries for sample in summary.samples} == poisonous.ids


def test_rejected_items_are_recorded_and_the_others_stored(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    world.faults.catalog(reject_ids="ITEM-0000[0-9]7")
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    world.faults.kill(owner)
    world.servers.restart(owner)
    job = world.checks.invariant(run)
    assert [summary.reason for summary in job.error_summaries] == [ErrorReason.ERROR_REASON_CATALOG_REJECTED]
    assert job.error_count == 10


def test_failed_items_are_retried_over_a_crash(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    world.faults.catalog(reject_ids="[02468]$")
    parent = world.jobs.start()
    assert world.checks.invariant(parent).error_count == 1500
    world.faults.clear()
    with world.servers.client() as client:
        client.get_job(parent.job_id)
        child = client.retry_failed(parent.job_id, "the catalog takes them now")
    run = world.jobs.follow(child.job_id, parent.table, parent.data_type)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        owner = world.jobs.owner(run)
        world.faults.kill(owner)
        world.servers.restart(owner)
        gate.open()
    job = world.jobs.until_ended(run)
    assert (job.status, job.total_items, job.success_count) == (Job.Status.Name(Job.COMPLETED), 1500, 1500)
    world.checks.union([run])
