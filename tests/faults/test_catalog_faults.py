"""The catalog: errors, storms, silence, lost replies, poison, and none at all for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.faults.poison import PoisonousCatalog
from tests.faults.tables import SHORT
from tests.faults.world import World

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
def test_a_fault_that_passes_costs_no_item(world: World, fault: dict[str, object]) -> None:
    world.serve("a")
    run = world.start(items_per_second=4000)
    world.until_moving(run)
    world.catalog_faults(**fault)
    job = world.check(run)
    assert job.error_count == 0


def test_a_storm_of_429_slows_down_and_costs_no_item(world: World) -> None:
    world.serve("a", "b")
    runs = [world.start(items_per_second=1000), world.start(items_per_second=1000)]
    for run in runs:
        world.until_moving(run, 0.1)
    world.catalog_faults(status={"code": 429, "retry_after": 1, "count": 6, "only": "upload"})
    world.until(runs[0], lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
    for run in runs:
        assert world.check(run, timeout_s=90).error_count == 0


@pytest.mark.parametrize("how", ["refuses_connections", "killed"])
def test_a_job_waits_for_a_catalog_that_is_down(world: World, how: str) -> None:
    world.serve("a")
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    if how == "killed":
        world.kill_catalog()
    else:
        world.catalog_faults(down={"seconds": 4})
    world.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    if how == "killed":
        world.start_catalog()
    assert world.check(run, timeout_s=20).error_count == 0


def test_a_job_waits_for_a_catalog_that_only_fails(world: World) -> None:
    """Its health check fails too: the items are not at fault."""
    world.serve("a")
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    world.catalog_faults(status={"code": 500})
    world.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    world.clear_faults()
    assert world.check(run).error_count == 0


@pytest.fixture
def poisonous(world: World) -> Iterator[PoisonousCatalog]:
    with PoisonousCatalog(world.catalog_url, ["ITEM-000123", "ITEM-000124", "ITEM-000700"]) as catalog:
        yield catalog


def test_poison_items_stand_alone_in_the_end(world: World, poisonous: PoisonousCatalog) -> None:
    world.serve("a", catalog_url=poisonous.url)
    run = world.start(SHORT)
    job = world.check(run)
    world.scenario.faults["catalog: 500 for certain items for ever"] += poisonous.struck
    assert (job.error_count, job.success_count) == (3, 797)
    assert {sample.item_id for summary in job.error_summaries for sample in summary.samples} == poisonous.ids


def test_rejected_items_are_recorded_and_the_others_stored(world: World) -> None:
    world.serve("a", "b")
    world.catalog_faults(reject_ids="ITEM-0000[0-9]7")
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    owner = world.owner(run)
    world.kill(owner)
    world.restart(owner)
    job = world.check(run)
    assert [summary.reason for summary in job.error_summaries] == [ErrorReason.ERROR_REASON_CATALOG_REJECTED]
    assert job.error_count == 10


def test_failed_items_are_retried_over_a_crash(world: World) -> None:
    world.serve("a", "b")
    world.catalog_faults(reject_ids="[02468]$")
    parent = world.start()
    assert world.check(parent).error_count == 1500
    world.clear_faults()
    with world.client() as client:
        client.get_job(parent.job_id)
        child = client.retry_failed(parent.job_id, "the catalog takes them now")
    run = world.follow(child.job_id, parent.table, parent.data_type)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        owner = world.owner(run)
        world.kill(owner)
        world.restart(owner)
        gate.open()
    job = world.until_ended(run)
    assert (job.status, job.total_items, job.success_count) == (Job.Status.Name(Job.COMPLETED), 1500, 1500)
    world.check_union([run])
