"""What a catalog can do to a job: it costs time, and items only where the catalog refuses them for good."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from tests.support.access import called

from blade_server.core.engine.ledger import Mark
from blade_server.errors import Reason
from blade_server.model import Status, WaitReason

EXACT = {"replace": False, "idempotency_keys": 0}
"""A catalog that keeps every copy and knows no idempotency keys: a double shows."""


def everything(count):
    return {f"MAINT-{number}": 1 for number in range(count)}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": {"code": 500, "count": 6}},
        {"status": {"code": 503, "count": 6}},
        {"drop_reply": {"count": 6}},
        {"reset_after_body": {"count": 6}},
        {"hang": {"count": 2}},
        {"status": {"code": 500, "rate": 0.2, "seed": 1}},
    ],
    ids=["500", "503", "reply lost", "reset", "hang", "one in five fails"],
)
def test_a_passing_fault_costs_time_and_nothing_else(make_world, ended, fault):
    world = make_world(1200, **EXACT)
    world.settings = world.configured(catalog_timeout_s=1.0)
    world.runner()
    world.catalog.set_faults(**fault)
    job = ended(world, world.begin(batch_size=50))
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 1200, 0)
    assert world.held() == everything(1200)


def test_a_lost_reply_is_not_mistaken_for_an_older_item_of_the_same_id(make_world, ended):
    """The catalog has older contents under each id; an upload that was cut off before it was stored is sent again."""
    world = make_world(200, replace=True, idempotency_keys=0)
    world.runner()
    first = ended(world, world.begin())
    world.catalog.set_faults(reset_after_body={"count": 3})
    second = ended(world, world.begin(batch_size=20, metadata={"fleet": "7"}))
    assert second.success_count == 200
    import requests

    for number in range(200):
        item = requests.get(f"{world.catalog.url}/v1/items/BLADE:maintenance/MAINT-{number}", timeout=60).json()
        assert item["metadata"]["job"] == second.job_id != first.job_id


def test_a_429_storm_slows_the_job_down_and_loses_nothing(make_world, ended, reaches):
    world = make_world(1000, **EXACT)
    world.runner()
    world.catalog.set_faults(status={"code": 429, "retry_after": 1, "count": 12})
    job = world.begin(batch_size=25)
    waiting = reaches(world, job, lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
    assert "asked" in waiting.wait_detail
    done = ended(world, job)
    assert (done.status, done.success_count, done.error_count) == (Status.COMPLETED, 1000, 0)
    assert world.held() == everything(1000)


def test_a_job_waits_for_a_catalog_that_is_down_and_goes_on_by_itself(make_world, ended, reaches):
    world = make_world(1500, **EXACT)
    world.runner()
    world.catalog.set_faults(latency_ms=20)
    job = reaches(world, world.begin(batch_size=20), lambda job: job.success_count)
    world.catalog.set_faults(down={"seconds": 4})
    waiting = reaches(world, job, lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    assert waiting.status is Status.RUNNING
    assert waiting.wait_detail
    done = ended(world, job)
    assert (done.status, done.success_count, done.error_count) == (Status.COMPLETED, 1500, 0)
    assert world.held() == everything(1500)


def test_a_job_that_waits_for_the_catalog_can_be_cancelled(make_world, reaches):
    world = make_world(100)
    world.runner()
    world.catalog.set_faults(down={"seconds": 30})
    job = reaches(world, world.begin(), lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    assert world.cancel(job.job_id, by=called("x")).status is Status.CANCELLED
    assert world.store.get(job.job_id).success_count == 0


def test_a_new_reason_to_wait_is_told_before_the_display_would_be_renewed(make_world, reaches, monkeypatch):
    monkeypatch.setattr("blade_server.core.engine.record.recorder.SHOW_EVERY_S", 3600.0)
    world = make_world(100)
    world.runner()
    world.catalog.set_faults(down={"seconds": 30})
    job = reaches(world, world.begin(), lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    world.cancel(job.job_id, by=called("x"))


def test_items_that_the_catalog_refuses_are_errors_and_the_rest_of_their_batch_is_not(make_world, ended):
    world = make_world(500, **EXACT)
    world.runner()
    world.catalog.set_faults(reject_ids=["MAINT-3", "MAINT-4", "MAINT-499"])
    job = ended(world, world.begin())
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 497, 3)
    errors, _ = world.jobs.show.errors(job.job_id)
    assert sorted(error.item_id for error in errors) == ["MAINT-3", "MAINT-4", "MAINT-499"]
    assert {error.reason for error in errors} == {Reason.CATALOG_REJECTED}
    assert all(error.row_json for error in errors)


def test_a_batch_that_is_refused_as_a_whole_is_split_until_the_bad_item_stands_alone(make_world, ended):
    """The catalog's limit is below one item's size: 413 for any request that carries it."""
    from tests.support.engine import maintenance_rows

    rows = maintenance_rows(64)
    rows["tail_number"][21] = "x" * 40_000
    world = make_world(rows, replace=False, max_request_bytes=30_000)
    world.runner()
    job = ended(world, world.begin(batch_size=64))
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 63, 1)
    errors, _ = world.jobs.show.errors(job.job_id)
    assert [error.item_id for error in errors] == ["MAINT-21"]


def test_a_wrong_token_of_the_catalog_fails_the_job_at_once(make_world, ended):
    world = make_world(1000, token="right")
    world.runner()
    job = ended(world, world.begin())
    assert (job.status, job.error_reason, job.success_count) == (Status.FAILED, Reason.CATALOG_DENIED, 0)
    assert "right" not in job.error_message


def test_a_url_with_the_wrong_scheme_fails_the_job_at_once_and_is_no_outage(make_world, ended):
    world = make_world(10, **EXACT)
    world.settings = world.configured(catalog_url=world.catalog.url.replace("http://", "https://"))
    world.runner()
    job = ended(world, world.begin())
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.CATALOG_UNAVAILABLE)
    assert f"BLADE_CATALOG_URL={world.settings.catalog_url} speaks no TLS there" in job.error_message


def test_what_may_be_stored_all_the_same_stands_in_the_ledger_as_a_server_of_0_2_knows_it(make_world, ended):
    """Which may take the job over, and sends an item again whose mark it does not know."""
    world = make_world(3, **EXACT)
    world.settings = world.configured(retry_attempts=0, catalog_patience_s=0.05, catalog_settle_s=0.05)
    world.catalog.set_faults(drop_reply={"only": "upload"}, status={"code": 500, "only": "lookup"})
    world.runner()
    job = ended(world, world.begin())
    assert (job.status, job.error_count) == (Status.COMPLETED, 3)
    assert "may be in the catalog all the same" in job.error_summaries[0].samples[0].message
    with world.database.begin() as connection:
        outcomes = connection.execute(text("SELECT outcomes FROM job_block")).scalars().all()
    assert {mark for block in outcomes for mark in bytes(block)} == {Mark.ERROR}
