"""Runs that read what lies behind the watermark, and what failed before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from tests.support.access import called
from tests.support.engine import maintenance_rows
from tests.support.syncs import NAME, counts

from blade_server.core.syncs.sync_jobs import Asked
from blade_server.errors import Reason
from blade_server.model import JobKind, Status
from blade_server.model.sync import Cursor, NullCursor
from blade_server.model.sync_report import SyncMode

NEW = "INSERT INTO {{t}} SELECT '{}', tail_number, priority, {}, classification, TIMESTAMP '{}' FROM {{t}} LIMIT 1"


def incremental(column="last_modified", **cursor):
    return {"mode": SyncMode.INCREMENTAL, "cursor": Cursor(column=column, **cursor)}


@pytest.fixture
def rows():
    rows = maintenance_rows(200)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    rows["last_modified"] = pa.array([start + timedelta(minutes=n) for n in range(200)], pa.timestamp("us", "UTC"))
    return rows


def test_only_what_lies_behind_the_watermark_is_read(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    first = syncs.run()
    assert (first.report.whole, counts(first)) == (True, {"created": 200})
    assert syncs.state.watermark == "2024-01-01T03:19:00Z"
    second = syncs.run()
    assert (second.report.whole, second.report.mode, counts(second)) == (False, SyncMode.INCREMENTAL, {"unchanged": 1})
    syncs.sql("UPDATE {t} SET priority = 'X', last_modified = TIMESTAMP '2024-01-02 00:00:00' WHERE number < 3")
    syncs.sql(NEW.format("NEW-1", 1000, "2024-01-02 00:00:01"))
    syncs.sql("DELETE FROM {t} WHERE number = 100")
    third = syncs.run()
    assert counts(third) == {"created": 1, "updated": 3, "unchanged": 1}, third
    assert (third.total_items, syncs.state.watermark) == (5, "2024-01-02T00:00:01Z")
    syncs.check_equal(but=["MAINT-100"])
    whole = syncs.run(whole=True)
    assert counts(whole) == {"unchanged": 200, "deleted": 1}, whole
    syncs.check_equal()


def test_a_watermark_of_another_column_is_not_taken(make_sync_world, rows):
    syncs = make_sync_world(pa.table({**rows, "seq": pa.array(range(200), pa.int64())}), spec=incremental("number"))
    syncs.sql("UPDATE {t} SET number = number + 1000000 WHERE number > 100")
    syncs.run()
    assert syncs.state.watermark == "1000199"
    syncs.sql("UPDATE {t} SET priority = 'X', seq = 300 WHERE number = 7")
    syncs.update(cursor=Cursor(column="seq"))
    run = syncs.run()
    assert counts(run) == {"updated": 1, "unchanged": 199}, run
    assert syncs.state.watermark == "300"
    syncs.check_equal()


def test_a_cursor_column_of_another_type_has_all_rows_read_once(make_sync_world, rows):
    syncs = make_sync_world(pa.table({**rows, "seq": pa.array(range(200), pa.int64())}), spec=incremental("seq"))
    syncs.run()
    syncs.sql("CREATE OR REPLACE TABLE {t} AS SELECT * REPLACE (last_modified AS seq) FROM {t}")
    run = syncs.run()
    assert (run.status, run.report.whole) == (Status.COMPLETED, True), run
    assert "of another type" in run.report.warnings[0]
    assert counts(syncs.run()) == {"unchanged": 1}


def test_numbers_that_become_text_of_the_same_digits_are_not_compared_as_text(make_sync_world, rows):
    syncs = make_sync_world(pa.table({**rows, "seq": pa.array(range(200), pa.int64())}), spec=incremental("seq"))
    syncs.run()
    assert (syncs.state.watermark, syncs.state.watermark_type) == ("199", "int64")
    syncs.sql("UPDATE {t} SET priority = 'X', seq = 1000 WHERE number = 7")
    syncs.sql("CREATE OR REPLACE TABLE {t} AS SELECT * REPLACE (CAST(seq AS STRING) AS seq) FROM {t}")
    run = syncs.run()
    assert run.report.whole, "as text, '1000' is below '199'"
    assert "of another type (int64) than the cursor column 'seq' (string)" in run.report.warnings[0]
    syncs.check_equal()
    assert (syncs.state.watermark, syncs.state.watermark_type) == ("99", "string")
    assert not syncs.run().report.whole


def test_a_run_that_ends_after_the_cursor_was_changed_moves_no_watermark(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental("number"), runner=False)
    job = syncs.begin()
    syncs.update(cursor=Cursor(column="last_modified"))
    syncs.world.runner()
    assert (syncs.ended(job).status, syncs.state.watermark) == (Status.COMPLETED, "")


def test_late_rows_are_read_within_the_lag(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental(lag_s=600.0))
    syncs.run()
    syncs.sql(NEW.format("LATE-1", 1000, "2024-01-01 03:10:00"))
    syncs.sql(NEW.format("TOO-LATE", 1001, "2024-01-01 02:00:00"))
    run = syncs.run()
    assert counts(run) == {"created": 1, "unchanged": 11}, run
    assert syncs.state.watermark == "2024-01-01T03:19:00Z"


def test_rows_without_a_value_are_read_by_every_run(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.sql("UPDATE {t} SET last_modified = NULL WHERE number < 5")
    assert syncs.run().report.null_cursor_count == 5
    syncs.sql("UPDATE {t} SET priority = 'X' WHERE number < 2")
    run = syncs.run()
    assert (counts(run), run.report.null_cursor_count) == ({"updated": 2, "unchanged": 4}, 5)
    syncs.check_equal()


def test_rows_without_a_value_are_errors_if_asked(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental(null_cursor=NullCursor.REJECT))
    syncs.run()
    syncs.sql("UPDATE {t} SET last_modified = NULL WHERE number < 5")
    run = syncs.run(whole=True)
    assert counts(run) == {"unchanged": 195, "failed": 5}, run
    errors, _ = syncs.syncs.show._jobs.errors(run.job_id, by=called())
    assert {(error.reason, error.field) for error in errors} == {(Reason.CURSOR_UNUSABLE, "last_modified")}
    assert (len(syncs.held()), syncs.state.dirty_items) == (200, 0)


@pytest.mark.parametrize(
    ("values", "first", "second"),
    [
        (pa.array(range(200), pa.int64()), "199", "250"),
        (pa.array(range(200), pa.decimal128(9, 2)), "199.00", "250.00"),
        (pa.array([number / 4 for number in range(200)]), "49.75", "250"),
        (pa.array([number / 10 for number in range(200)], pa.float32()), "19.9", "25.3"),
        (pa.array([f"v{number:04}" for number in range(200)]), "v0199", "v0250"),
        (pa.array([19000 + number for number in range(200)], pa.int32()).cast(pa.date32()), "2022-07-26", "2022-09-28"),
    ],
    ids=["int", "decimal", "double", "float", "text", "date"],
)
def test_cursors_of_each_type(make_sync_world, rows, values, first, second):
    table = pa.table({**rows, "seq": values})
    syncs = make_sync_world(table, spec=incremental("seq"))
    syncs.run()
    assert syncs.state.watermark == first
    syncs.sql(f"UPDATE {{t}} SET priority = 'X', seq = '{second}' WHERE number = 7")
    run = syncs.run()
    assert counts(run) == {"updated": 1, "unchanged": 1}, run
    assert syncs.state.watermark in {second, f"{second}.0"}
    assert counts(syncs.run()) == {"unchanged": 1}


def test_a_value_in_the_future_warns_and_moves_the_watermark_to_now_at_most(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.sql("UPDATE {t} SET last_modified = TIMESTAMP '2999-01-01 00:00:00' WHERE number = 3")
    run = syncs.run()
    assert "2999-01-01T00:00:00Z" in run.report.warnings[0]
    now = datetime.now(UTC)
    assert now - timedelta(minutes=5) < datetime.fromisoformat(syncs.state.watermark) <= now + timedelta(minutes=1)
    assert counts(syncs.run()) == {"unchanged": 1}


def test_what_failed_is_read_again_by_its_id(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.world.catalog.set_faults(reject_ids=["MAINT-5", "MAINT-9"])
    first = syncs.run()
    assert (counts(first), syncs.state.dirty_items) == ({"created": 198, "failed": 2}, 2)
    assert syncs.state.watermark
    syncs.world.catalog.clear_faults()
    second = syncs.run()
    assert counts(second) == {"created": 2, "unchanged": 1}, second
    assert (syncs.state.dirty_items, syncs.state.known_items) == (0, 200)
    syncs.check_equal()
    assert counts(syncs.run()) == {"unchanged": 1}


def test_a_failed_update_is_read_again_and_a_failed_row_that_is_gone_is_forgotten(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.run()
    syncs.world.catalog.set_faults(reject_ids=["MAINT-5", "NEW-1"])
    syncs.sql("UPDATE {t} SET priority = 'X', last_modified = TIMESTAMP '2024-01-02 00:00:00' WHERE number = 5")
    syncs.sql(NEW.format("NEW-1", 1000, "2024-01-02 00:00:01"))
    assert counts(syncs.run()) == {"unchanged": 1, "failed": 2}
    assert (syncs.state.dirty_items, syncs.state.known_items) == (2, 200)
    syncs.world.catalog.clear_faults()
    syncs.sql("DELETE FROM {t} WHERE item_id = 'NEW-1'")
    assert counts(syncs.run()) == {"updated": 1}
    assert syncs.state.dirty_items == 1
    assert counts(syncs.run(whole=True)) == {"unchanged": 200}
    assert (syncs.state.dirty_items, syncs.state.known_items) == (0, 200)
    syncs.check_equal()


def test_a_row_without_an_id_holds_the_watermark(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.run()
    before = syncs.state.watermark
    syncs.sql("UPDATE {t} SET item_id = NULL, last_modified = TIMESTAMP '2024-01-02 00:00:00' WHERE number = 5")
    run = syncs.run()
    assert "watermark stays" in run.report.warnings[0]
    assert syncs.state.watermark == before


def test_a_cursor_column_that_is_gone_or_has_no_order_fails_the_run(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.run()
    syncs.sql("ALTER TABLE {t} RENAME COLUMN last_modified TO changed")
    run = syncs.run()
    assert (run.status, run.error_reason) == (Status.FAILED, Reason.CURSOR_UNUSABLE)
    assert "'last_modified'" in run.error_message


def test_a_cursor_that_is_all_null_reads_all_rows_each_time(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.sql("UPDATE {t} SET last_modified = NULL")
    first, second = syncs.run(), syncs.run()
    assert (counts(first), counts(second)) == ({"created": 200}, {"unchanged": 200})
    assert (second.report.null_cursor_count, syncs.state.watermark) == (200, "")


def test_a_backfill_sends_what_differs_in_its_window_and_moves_nothing(make_sync_world, rows):
    syncs = make_sync_world(rows, spec=incremental())
    syncs.run()
    before = syncs.state
    syncs.sql("UPDATE {t} SET priority = 'X' WHERE number < 100")  # without its cursor
    syncs.sql("DELETE FROM {t} WHERE number = 12")
    asked = Asked(by=called(), reason="a wrong migration")
    job = syncs.ended(
        syncs.syncs.backfill(NAME, asked, from_value="2024-01-01T00:10:00Z", to_value="2024-01-01 00:20:00")
    )
    assert (job.kind, job.status, counts(job)) == (JobKind.BACKFILL, Status.COMPLETED, {"updated": 9}), job
    assert syncs.state.watermark == before.watermark
    assert len(syncs.held()) == 200
