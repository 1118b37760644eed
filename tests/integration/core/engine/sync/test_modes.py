"""Other ways of a run: all rows, adoption, another order of columns, budgets of errors."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from sqlalchemy import text
from tests.support.access import called
from tests.support.engine import maintenance_rows
from tests.support.syncs import NAME, counts

from blade_server.errors import Reason
from blade_server.model import JobLimits, Status
from blade_server.model.sync import Deletes, SyncRetry
from blade_server.model.sync_report import SyncMode


def test_full_sends_all_rows_each_time_and_deletes_nothing(make_sync_world):
    syncs = make_sync_world(100, spec={"mode": SyncMode.FULL, "deletes": Deletes.KEEP})
    assert counts(syncs.run()) == {"created": 100}
    syncs.sql("DELETE FROM {t} WHERE number = 1")
    run = syncs.run()
    assert (counts(run), run.report.mode) == ({"updated": 99}, SyncMode.FULL)
    assert len(syncs.held()) == 100


@pytest.mark.parametrize("replace_by_id", [True, False])
def test_a_first_run_adopts_what_is_there_already(make_sync_world, ended, replace_by_id):
    syncs = make_sync_world(100, spec={"adopt": True}, replace=replace_by_id)
    ended(syncs.world, syncs.world.begin())
    syncs.sql("UPDATE {t} SET priority = 'X' WHERE number < 10")
    syncs.sql(
        "INSERT INTO {t} SELECT 'NEW-1', tail_number, priority, 1000, classification, last_modified FROM {t} LIMIT 1"
    )
    run = syncs.run()
    assert counts(run) == {"created": 11, "unchanged": 90}, run
    assert (run.success_count, run.skipped_count) == (11, 90)
    assert syncs.state.known_items == 101
    syncs.check_equal()
    assert counts(syncs.run()) == {"unchanged": 101}
    syncs.sql("DELETE FROM {t} WHERE number = 50")
    assert counts(syncs.run())["deleted"] == 1
    syncs.check_equal()


def test_another_order_of_columns_is_no_change(make_sync_world):
    syncs = make_sync_world(50)
    syncs.run()
    syncs.sql(
        "CREATE OR REPLACE TABLE {t} AS"
        " SELECT priority, number, last_modified, item_id, classification, tail_number FROM {t}"
    )
    assert counts(syncs.run()) == {"unchanged": 50}
    syncs.sql("ALTER TABLE {t} ADD COLUMN more STRING")
    assert counts(syncs.run()) == {"updated": 50}


def test_two_runs_that_find_the_same_have_one_generation(make_sync_world):
    syncs = make_sync_world(20)
    syncs.run()
    before = syncs.state.generation
    syncs.run()
    assert syncs.state.generation == before


def test_the_error_budget_ends_the_run_and_what_was_done_is_known(make_sync_world):
    syncs = make_sync_world(300, spec={"limits": JobLimits(max_errors=3), "batch_size": 10})
    syncs.world.catalog.set_faults(reject_ids=[f"MAINT-{number}" for number in range(0, 300, 10)])
    run = syncs.run()
    assert (run.status, run.error_reason) == (Status.FAILED, Reason.TOO_MANY_ERRORS)
    assert run.report.counts.created == run.success_count
    sync = syncs.syncs.show.get(NAME, by=called())
    assert (sync.failures_in_a_row, sync.totals.created) == (1, run.success_count)
    syncs.world.catalog.clear_faults()
    second = syncs.run()
    assert second.status is Status.COMPLETED
    assert second.report.counts.unchanged + second.report.counts.created == 300
    syncs.check_equal()
    sync = syncs.syncs.show.get(NAME, by=called())
    assert (sync.failures_in_a_row, sync.last_success_time is not None) == (0, True)


def test_the_retry_policy_of_a_sync_takes_the_place_of_the_servers(make_sync_world):
    syncs = make_sync_world(10, spec={"retry": SyncRetry(attempts=0, base_s=0.01)})
    syncs.world.warehouse_faults(fail_next={"count": 1, "code": 400, "call": "ExecuteStatement"})
    run = syncs.run()
    assert (run.status, run.error_reason) == (Status.FAILED, Reason.WAREHOUSE_UNAVAILABLE), run


def test_a_restored_database_has_everything_looked_up(make_sync_world):
    syncs = make_sync_world(60)
    syncs.run()
    syncs.sql("UPDATE {t} SET priority = 'X' WHERE number < 20")
    with syncs.world.database.begin() as connection:
        connection.execute(text("CREATE TABLE kept AS SELECT * FROM sync_block"))
    syncs.run()
    with syncs.world.database.begin() as connection:
        connection.execute(text("DELETE FROM sync_block"))
        connection.execute(text("INSERT INTO sync_block SELECT * FROM kept"))
        connection.execute(text("UPDATE sync SET doubtful = true"))
    syncs.sql("UPDATE {t} SET priority = CASE WHEN number % 2 = 1 THEN 'HIGH' ELSE 'LOW' END WHERE number < 20")
    run = syncs.run()
    assert run.status is Status.COMPLETED
    syncs.check_equal()
    assert not syncs.state.doubtful
    assert counts(syncs.run()) == {"unchanged": 60}


def test_a_doubled_id_keeps_its_item_and_nothing_is_sent_twice(make_sync_world):
    rows = maintenance_rows(100)
    rows["item_id"][99] = "MAINT-0"
    rows["classification"][98] = "WRONG"
    syncs = make_sync_world(pa.table(rows))
    first = syncs.run()
    assert counts(first) == {"created": 98, "failed": 2}
    uploads = syncs.world.catalog.status()["uploads"]
    second = syncs.run()
    assert counts(second) == {"unchanged": 98, "failed": 2}, second
    assert syncs.world.catalog.status()["uploads"] == uploads


def test_a_sync_that_is_gone_fails_its_job(make_sync_world):
    syncs = make_sync_world(10, runner=False)
    syncs.begin()
    with syncs.world.database.begin() as connection:
        connection.execute(text("DELETE FROM sync"))
        job_id = connection.execute(text("SELECT job_id FROM job")).scalar_one()
    syncs.world.runner()
    job = syncs.ended(replace(syncs.world.store.get(job_id)))
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.SYNC_NOT_FOUND)
