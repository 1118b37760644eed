"""Interleavings that once went wrong: each of these failed before it was mended."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text
from tests.support.access import called
from tests.support.engine import maintenance_rows

from blade_server.errors import Reason, StorageUnavailable
from blade_server.model import Action, Classification, JobLimits, RowMapping, Status, WaitReason

EXACT = {"replace": False, "idempotency_keys": 0}


def sent(job):
    return job.success_count


@pytest.mark.slow
def test_duplicates_at_any_distance_are_found_while_their_first_row_is_being_written(make_world, ended):
    choose = random.Random(7)
    rows = maintenance_rows(40_000)
    for at in range(1000, 40_000):
        if choose.random() < 0.15:
            rows["item_id"][at] = rows["item_id"][at - choose.choice([1, 30, 900, 4_000, 12_000][: 1 + at // 8_000])]
    different = len(set(rows["item_id"]))
    world = make_world(rows, **EXACT)
    world.runner()
    job = ended(world, world.begin(batch_size=50))
    assert (job.status, job.success_count) == (Status.COMPLETED, different)
    assert job.error_count == 40_000 - different
    assert set(world.held().values()) == {1}


@pytest.mark.parametrize("mended", ["the mapping", "the row"])
def test_a_retry_finds_rejected_rows_again_after_they_were_mended(make_world, ended, mended):
    rows = maintenance_rows(100)
    for at in range(0, 100, 10):
        rows["classification"][at] = "WRONG"
    world = make_world(rows)
    world.runner()
    parent = ended(world, world.begin())
    assert (parent.success_count, parent.error_count) == (90, 10)
    if mended == "the mapping":
        source = world.sources.get("blade-maintenance")
        mapping = RowMapping(item_id=source.mapping.item_id, classification=Classification(value="UNCLASS"))
        from dataclasses import replace

        world.sources.update(replace(source, mapping=mapping, etag=""), {"mapping"})
    else:
        from .test_warehouse_faults import run

        run(world, "UPDATE main.blade.blade_maintenance_data SET classification = 'CUI' WHERE classification = 'WRONG'")
    child = ended(world, world.jobs.retry_failed(parent.job_id, by=called("x")))
    assert (child.status, child.total_items, child.success_count) == (Status.COMPLETED, 10, 10)
    assert len(world.held()) == 100


def test_rows_without_an_id_are_found_again_after_the_template_was_mended(make_world, ended):
    rows = maintenance_rows(20)
    rows["item_id"][3] = rows["item_id"][4] = None
    world = make_world(rows)
    world.runner()
    parent = ended(world, world.begin())
    assert parent.error_count == 2
    from dataclasses import replace

    source = world.sources.get("blade-maintenance")
    world.sources.update(
        replace(source, mapping=replace(source.mapping, item_id="N-{number}"), etag=""), {"mapping.item_id"}
    )
    child = ended(world, world.jobs.retry_failed(parent.job_id, by=called("x")))
    assert (child.status, child.success_count, child.skipped_count) == (Status.COMPLETED, 2, 0)
    assert {"N-3", "N-4"} <= set(world.held())


def test_a_retry_keeps_its_plan_also_where_its_parents_errors_cannot_be_read_at_first(make_world, ended, monkeypatch):
    rows = maintenance_rows(50)
    for at in range(0, 50, 10):
        rows["classification"][at] = "WRONG"
    world = make_world(rows)
    world.runner()
    parent = ended(world, world.begin())
    failed_keys, asked = world.ledgers.failed_keys, []

    def away_once(job_id):
        asked.append(job_id)
        if len(asked) == 1:
            raise StorageUnavailable("PostgreSQL is away")
        return failed_keys(job_id)

    monkeypatch.setattr(world.ledgers, "failed_keys", away_once)
    child = ended(world, world.jobs.retry_failed(parent.job_id, by=called("x")))
    assert (child.status, child.total_items, len(asked)) == (Status.COMPLETED, 5, 2)
    with world.database.begin() as connection:
        query = text("SELECT plan ->> 'announced' FROM job WHERE job_id = :job_id")
        assert connection.execute(query, {"job_id": child.job_id}).scalar_one() == "50"


def test_a_job_resumed_and_paused_again_at_once_is_paused(make_world, reaches):
    world = make_world(3000)
    world.runner()
    world.catalog.set_faults(latency_ms=30)
    job = reaches(world, world.begin(batch_size=20), sent)
    world.jobs.control.pause(job.job_id, by=called("x"))
    world.wake()
    reaches(world, job, lambda job: job.status is Status.PAUSED)
    world.jobs.control.resume(job.job_id, by=called("x"))
    world.jobs.control.pause(job.job_id, by=called("x"))
    world.wake()
    paused = reaches(world, job, lambda job: job.status is Status.PAUSED and job.pending_action is None)
    assert paused.wait_reason is WaitReason.PAUSE_REQUESTED


def test_a_raised_limit_is_heard_by_workers_that_wait(make_world, ended, reaches):
    world = make_world(200)
    world.runner()
    job = world.begin(items_per_second=0.05, batch_size=20)
    reaches(world, job, lambda job: job.wait_reason is WaitReason.RATE_LIMITED)
    world.jobs.control.update_limits(job.job_id, JobLimits(), by=called("x"))
    world.wake()
    assert ended(world, job).success_count == 200


def test_held_pauses_take_up_no_place(make_world, ended, reaches):
    world = make_world(2000)
    world.runner(world.configured(max_running_jobs=1))
    slow = reaches(world, world.begin(items_per_second=100), sent)
    world.jobs.control.pause(slow.job_id, by=called("x"))
    world.wake()
    reaches(world, slow, lambda job: job.status is Status.PAUSED)
    assert ended(world, world.begin()).status is Status.COMPLETED


def test_a_pause_during_planning_and_a_resume_leave_the_job_well(make_world, ended, reaches):
    world = make_world(500)
    world.runner()
    world.warehouse_faults(slow_execute_ms=1500)
    job = reaches(world, world.begin(), lambda job: job.wait_reason is WaitReason.WAREHOUSE_STARTING and job.start_time)
    world.jobs.control.pause(job.job_id, by=called("x"))
    world.wake()
    reaches(world, job, lambda job: job.status is Status.PAUSED)
    world.warehouse_faults(slow_execute_ms=0)
    world.jobs.control.resume(job.job_id, by=called("x"))
    world.wake()
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 500), done.error_message


@pytest.mark.slow
def test_an_outage_longer_than_the_patience_burns_no_items_of_a_catalog_without_batches(make_world, ended, reaches):
    world = make_world(300, batch=False, lookup=False, **EXACT)
    world.runner(world.configured(catalog_patience_s=1.5))
    world.catalog.set_faults(latency_ms=50)
    job = reaches(world, world.begin(batch_size=20), sent)
    world.catalog.set_faults(down={"seconds": 4})
    reaches(world, job, lambda job: job.wait_reason is WaitReason.CATALOG_DOWN)
    done = ended(world, job)
    assert (done.success_count, done.error_count) == (300, 0)
    assert set(world.held().values()) == {1}


def test_poison_items_do_not_wait_out_the_patience_each(make_world, ended):
    """Their single uploads always fail with 500; the catalog is well and takes all others."""
    world = make_world(60, batch=False, lookup=False)
    world.runner(world.configured(catalog_patience_s=600.0))
    poisoned = {"MAINT-1", "MAINT-2", "MAINT-30"}
    client = world.clients[0]
    upload = client.upload

    def failing(encoded, **options):
        from blade_server.errors import CatalogUnavailable

        if any(item.item_id in poisoned for item in encoded.items):
            raise CatalogUnavailable("500 for this one", maybe_stored=False)
        return upload(encoded, **options)

    client.upload = failing
    job = ended(world, world.begin(batch_size=20, workers=2))
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 57, 3)
    errors, _ = world.jobs.show.errors(job.job_id)
    assert {error.item_id for error in errors} == poisoned
    assert {error.reason for error in errors} == {Reason.CATALOG_UNAVAILABLE}


def test_a_429_while_postgresql_breaks_the_connection_costs_time_only(make_world, ended):
    world = make_world(300)
    paces = world.stores.holds
    hold, calls = paces.hold, []

    def broken_once(key, seconds):
        calls.append(key)
        if len(calls) == 1:
            with world.database.begin() as connection:
                connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        hold(key, seconds)

    paces.hold = broken_once
    world.runner()
    world.catalog.set_faults(status={"code": 429, "retry_after": 1, "count": 1})
    assert ended(world, world.begin()).status is Status.COMPLETED
    assert calls


@pytest.mark.parametrize("asked", ["Fri, 31 Dec 9999 23:59:59 GMT", "1e300", "86400"])
def test_an_absurd_retry_after_holds_for_five_minutes_at_most(make_world, reaches, asked):
    world = make_world(100)
    world.runner()
    world.catalog.set_faults(status={"code": 429, "retry_after": asked, "count": 1})
    job = reaches(world, world.begin(), lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED)
    with world.database.begin() as connection:
        query = text("SELECT extract(epoch FROM hold_until - now())::float8 FROM pace WHERE key = 'catalog'")
        assert 200 < connection.execute(query).scalar_one() <= 300
    assert world.cancel(job.job_id, by=called("x")).status is Status.CANCELLED


@pytest.mark.slow
def test_what_a_lost_server_may_still_be_sending_is_not_sent_a_second_time(make_world, ended, reaches, wait_until):
    """The catalog is slow and keeps every copy; the first server loses the job with uploads under way."""
    world = make_world(400, **EXACT)
    first = world.runner()
    world.catalog.set_faults(latency_ms=2500)
    job = world.begin(batch_size=50, workers=4)
    wait_until(lambda: world.catalog.status()["concurrent"] >= 4)
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE job SET owner = 'a server that died', lease_until = now() - interval '1 second'")
        )
    first.wake()
    world.runner()
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 400)
    assert set(world.held().values()) == {1}
    assert done.pending_action is not Action.CANCEL
