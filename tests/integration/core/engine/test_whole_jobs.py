"""Jobs that run through: every row ends in the catalog or among the errors, exactly once."""

from __future__ import annotations

import pytest
from tests.support.access import called
from tests.support.engine import maintenance_rows

from blade_server.core.jobs.preview import Preview
from blade_server.errors import Invalid, Precondition, Reason
from blade_server.model import EventKind, Status
from blade_server.storage.retention import Retention


def test_every_row_of_a_job_ends_in_the_catalog_once(make_world, ended):
    world = make_world(2350, replace=False)
    world.runner()
    job = ended(world, world.begin())
    assert job.status is Status.COMPLETED, job.error_message
    assert (job.total_items, job.success_count, job.error_count, job.skipped_count) == (2350, 2350, 0, 0)
    assert job.bytes_uploaded > 2350 * 100
    assert world.held() == {f"MAINT-{number}": 1 for number in range(2350)}


def test_a_catalog_that_takes_no_batches_gets_one_upload_an_item(make_world, ended):
    world = make_world(120, batch=False, lookup=False, replace=False)
    world.runner()
    job = ended(world, world.begin())
    assert job.status is Status.COMPLETED, job.error_message
    assert world.held() == {f"MAINT-{number}": 1 for number in range(120)}
    assert world.catalog.status()["uploads"] == 120


def test_an_empty_result_is_a_completed_job_of_zero_items(make_world, ended):
    world = make_world(10)
    world.runner()
    job = ended(world, world.begin(sql="SELECT * FROM maintenance WHERE priority = 'NONE'"))
    assert (job.status, job.total_items, job.processed_items) == (Status.COMPLETED, 0, 0)


def test_a_second_row_with_an_item_id_is_an_error_and_the_first_one_stays(make_world, ended):
    rows = maintenance_rows(300)
    rows["item_id"][250] = rows["item_id"][10]
    rows["item_id"][251] = rows["item_id"][10]
    rows["item_id"][299] = rows["item_id"][298]
    world = make_world(rows, replace=False)
    world.runner()
    job = ended(world, world.begin(batch_size=20))
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 297, 3)
    assert [(s.reason, s.count) for s in job.error_summaries] == [(Reason.DUPLICATE_ITEM_ID, 3)]
    assert set(world.held().values()) == {1}
    assert len(world.held()) == 297


def test_the_list_of_jobs_that_completed_with_errors_has_those_and_no_others(make_world, ended):
    rows = maintenance_rows(200)
    rows["item_id"][7] = None
    world = make_world(rows)
    world.runner()
    with_errors = [ended(world, world.begin()) for _ in range(2)]
    clean = ended(world, world.begin(sql="SELECT * FROM maintenance WHERE number > 100"))
    failed = ended(world, world.begin(max_errors=0))
    assert (clean.status, failed.status, failed.error_count) == (Status.COMPLETED, Status.FAILED, 1)
    assert [job.completed_with_errors for job in (*with_errors, clean, failed)] == [True, True, False, False]

    page, token = world.jobs.show.list(with_errors=True, page_size=1)
    assert [job.job_id for job in page] == [with_errors[1].job_id]
    assert all(job.completed_with_errors for job in page)
    page, end = world.jobs.show.list(with_errors=True, page_token=token)
    assert ([job.job_id for job in page], end) == ([with_errors[0].job_id], "")
    with pytest.raises(Invalid, match="same filters"):
        world.jobs.show.list(page_token=token)


def test_rows_without_an_id_are_errors_each_even_if_they_are_equal(make_world, ended):
    rows = maintenance_rows(50)
    for number in (7, 8, 9):
        for column in rows:
            rows[column][number] = rows[column][7]
        rows["item_id"][number] = None
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin())
    assert (job.success_count, job.error_count) == (47, 3)
    errors, _ = world.jobs.show.errors(job.job_id)
    assert {(error.reason, error.field) for error in errors} == {(Reason.MISSING_ITEM_ID, "item_id")}
    assert '"number":7' in errors[0].row_json.replace(" ", "")


def test_a_table_where_all_rows_have_one_of_two_ids_leaves_two_items(make_world, ended):
    rows = maintenance_rows(3000)
    rows["item_id"] = [f"MAINT-{number % 2}" for number in range(3000)]
    world = make_world(rows, replace=False)
    world.runner()
    job = ended(world, world.begin())
    assert (job.status, job.success_count, job.error_count) == (Status.COMPLETED, 2, 2998)
    assert world.held() == {"MAINT-0": 1, "MAINT-1": 1}


def test_errors_come_in_pages_that_together_are_all_of_them(make_world, ended):
    rows = maintenance_rows(500)
    rows["classification"] = ["WRONG" if number % 5 == 0 else "UNCLASS" for number in range(500)]
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin())
    assert job.error_count == 100
    seen, token = [], ""
    while True:
        page, token = world.jobs.show.errors(job.job_id, page_size=30, page_token=token)
        seen += [error.item_id for error in page]
        if not token:
            break
    assert sorted(seen) == sorted(f"MAINT-{number}" for number in range(0, 500, 5))
    summary = job.error_summaries[0]
    assert (summary.reason, summary.count, len(summary.samples)) == (Reason.UNKNOWN_CLASSIFICATION, 100, 5)


def test_items_that_are_there_are_skipped_if_asked(make_world, ended):
    world = make_world(400)
    world.runner()
    ended(world, world.begin(sql="SELECT * FROM maintenance WHERE priority = 'HIGH'"))
    job = ended(world, world.begin(skip_existing=True))
    assert (job.success_count, job.skipped_count, job.error_count) == (200, 200, 0)


def test_a_retry_sends_the_failed_items_and_no_others(make_world, ended):
    world = make_world(300)
    world.runner()
    world.catalog.set_faults(reject_ids=["MAINT-5", "MAINT-77", "MAINT-201"])
    parent = ended(world, world.begin())
    assert (parent.success_count, parent.error_count) == (297, 3)
    world.catalog.clear_faults()
    uploads = world.catalog.status()["uploads"]
    child = ended(world, world.jobs.retry_failed(parent.job_id, by=called("tester")))
    assert (child.status, child.total_items, child.success_count) == (Status.COMPLETED, 3, 3)
    assert child.parent_job_id == parent.job_id
    assert world.catalog.status()["uploads"] == uploads + 1
    assert len(world.held()) == 300
    assert world.store.get(parent.job_id).history[-1].kind is EventKind.RETRIED


def test_there_is_nothing_to_retry_in_a_job_without_errors(make_world, ended):
    world = make_world(10)
    world.runner()
    job = ended(world, world.begin())
    with pytest.raises(Precondition, match="no failed items"):
        world.jobs.retry_failed(job.job_id, by=called("tester"))


def test_a_short_result_fails_the_job(make_world, ended):
    world = make_world(1000)
    world.runner()
    world.warehouse_faults(short_result={"rows": 17})
    job = ended(world, world.begin())
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.RESULT_TRUNCATED)
    assert "1000" in job.error_message
    assert "983" in job.error_message
    assert job.processed_items == 983


@pytest.mark.parametrize(
    ("limits", "text"),
    [({"max_errors": 10}, "max_errors"), ({"max_error_share": 0.05}, "max_error_share")],
)
def test_too_many_errors_stop_the_job(make_world, ended, limits, text):
    rows = maintenance_rows(2000)
    rows["classification"] = ["WRONG" if number % 4 == 0 else "UNCLASS" for number in range(2000)]
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin(**limits))
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.TOO_MANY_ERRORS)
    assert text in job.error_message


@pytest.mark.parametrize("limits", [{"max_errors": 100}, {"max_error_share": 0.01}])
def test_what_goes_beyond_a_limit_of_errors_was_in_flight(make_world, ended, limits):
    world = make_world(20_000)
    world.catalog.set_faults(reject_ids="MAINT-.*")
    world.runner()
    job = ended(world, world.begin(workers=4, batch_size=50, **limits))
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.TOO_MANY_ERRORS)
    sent = world.catalog_status()["injected"]["reject_ids"]
    assert sent <= 150 + 4 * 50  # reported when the limit was passed, and what each thread had in its hands
    assert job.error_count == sent
    assert job.error_message.startswith(f"{sent} ")


def test_rows_that_cannot_be_items_count_at_once_too(make_world, ended):
    rows = maintenance_rows(20_000)
    rows["classification"] = ["WRONG" if number < 150 else "UNCLASS" for number in range(20_000)]
    world = make_world(rows)
    world.runner()
    job = ended(world, world.begin(max_errors=100, batch_size=50))
    assert job.error_message == f"{job.error_count} items failed, more than the 100 allowed (max_errors)"
    assert job.error_count <= 150


@pytest.mark.parametrize("batch_size", [100, 1000])
def test_a_share_of_errors_is_not_that_of_the_first_ones_heard_of(make_world, ended, batch_size):
    """Rejected rows are known at once, the others only once the catalog has answered."""
    rows = maintenance_rows(6000)
    rows["classification"] = ["WRONG" if number % 20 == 0 else "UNCLASS" for number in range(6000)]
    world = make_world(rows)
    world.catalog.set_faults(latency_ms=100)
    world.runner()
    job = ended(world, world.begin(max_error_share=0.06, batch_size=batch_size))
    assert (job.status, job.error_count) == (Status.COMPLETED, 300)


def test_sql_that_the_warehouse_refuses_fails_the_job_with_its_words(make_world, ended):
    world = make_world(10)
    world.runner()
    job = ended(world, world.begin(sql="SELECT nothing_like_it FROM maintenance"))
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.WAREHOUSE_REFUSED)
    assert "nothing_like_it" in job.error_message


def test_a_result_without_the_columns_of_the_mapping_fails_the_job(make_world, ended):
    world = make_world(10)
    world.runner()
    job = ended(world, world.begin(sql="SELECT tail_number FROM maintenance"))
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.MISSING_COLUMN)
    assert "item_id" in job.error_message


def test_the_same_request_id_is_the_same_job_and_another_body_is_refused(make_world):
    world = make_world(10)
    first = world.begin(request_id="night-run-7")
    assert world.begin(request_id="night-run-7").job_id == first.job_id
    with pytest.raises(Invalid) as refused:
        world.begin(request_id="night-run-7", batch_size=7)
    assert refused.value.reason is Reason.REQUEST_ID_REUSED


def test_a_preview_shows_items_and_rejections_and_writes_nothing(make_world):
    rows = maintenance_rows(50)
    rows["classification"][1] = None
    world = make_world(rows)
    shown, _ = world.jobs.preview(Preview(source="blade-maintenance", limit=5))
    assert [item.item_id for item in shown.items] == ["MAINT-0", "MAINT-2", "MAINT-3", "MAINT-4"]
    assert [row.error.reason for row in shown.rejected] == [Reason.MISSING_CLASSIFICATION]
    assert world.held() == {}
    assert world.jobs.show.list() == ([], "")


def test_the_history_tells_who_did_what_and_the_stats_count_the_items(make_world, ended):
    world = make_world(30)
    runner = world.runner()
    job = ended(world, world.begin())
    told = [(event.kind, event.actor) for event in job.history]
    assert told == [
        (EventKind.CREATED, "tester"),
        (EventKind.CLAIMED, runner.owner),
        (EventKind.COMPLETED, runner.owner),
    ]
    stats = world.sources.get("blade-maintenance").stats
    assert (stats.item_count, stats.last_job_id) == (30, job.job_id)
    assert stats.last_success_time is not None


def test_final_jobs_are_pruned_after_their_time_and_running_ones_never(make_world, ended):
    world = make_world(30)
    world.runner()
    done = ended(world, world.begin())
    waiting = world.begin(items_per_second=1)
    retention = Retention(world.database)
    assert not retention.prune(older_than_s=3600)
    assert retention.prune(older_than_s=0)
    assert not retention.prune(older_than_s=0)
    assert [job.job_id for job in world.jobs.show.list()[0]] == [waiting.job_id]
    assert done.job_id != waiting.job_id
