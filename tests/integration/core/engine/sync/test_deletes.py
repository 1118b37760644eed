"""Deletes: what is gone goes, within the guards, and nothing else ever does."""

from __future__ import annotations

import pytest
from tests.support.access import called
from tests.support.engine import maintenance_rows
from tests.support.syncs import NAME, counts

from blade_server.catalog import Catalog
from blade_server.core.syncs.sync_jobs import Asked
from blade_server.errors import Reason
from blade_server.model import JobKind, Status
from blade_server.model.sync import Deletes, Guards
from blade_server.model.sync_report import Withheld


def withheld(job):
    assert job.status is Status.COMPLETED, job
    return job.report.withheld_reason, job.report.counts.withheld, job.report.counts.deleted


def test_more_than_the_share_is_withheld_and_goes_once_it_is_accepted(make_sync_world):
    syncs = make_sync_world(100, spec={"guards": Guards()})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number < 10")
    run = syncs.run()
    assert withheld(run) == (Withheld.MAX_DELETE_SHARE, 10, 0)
    assert "10 of 100" in run.report.withheld_detail
    _, samples = syncs.syncs.show.report(NAME, run.job_id, by=called())
    assert sorted(sample.item_id for sample in samples) == sorted(f"MAINT-{number}" for number in range(10))
    assert len(syncs.held()) == 100
    syncs.sql(
        "INSERT INTO {t} SELECT 'MAINT-3', tail_number, priority, 3, classification, last_modified FROM {t} LIMIT 1"
    )
    asked = Asked(by=called(), reason="they are gone for good")
    accepted = syncs.ended(syncs.syncs.accept_deletes(NAME, run.job_id, asked))
    assert (accepted.status, accepted.kind, counts(accepted)) == (Status.COMPLETED, JobKind.DELETE, {"deleted": 9})
    assert accepted.skipped_count == 91
    assert len(syncs.held()) == 91
    syncs.run()
    syncs.check_equal()


def test_a_list_of_withheld_deletes_that_a_later_run_counted_anew_is_stale(make_sync_world):
    syncs = make_sync_world(100, spec={"guards": Guards()})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number < 10")
    first, second = syncs.run(), syncs.run()
    asked = Asked(by=called(), reason="they are gone for good")
    stale = syncs.ended(syncs.syncs.accept_deletes(NAME, first.job_id, asked))
    assert (stale.status, stale.error_reason) == (Status.FAILED, Reason.PLAN_STALE), stale
    assert counts(syncs.ended(syncs.syncs.accept_deletes(NAME, second.job_id, asked))) == {"deleted": 10}


def test_a_source_without_rows_deletes_nothing_unless_somebody_forces_it(make_sync_world):
    syncs = make_sync_world(30)
    syncs.run()
    syncs.sql("DELETE FROM {t}")
    run = syncs.run()
    assert withheld(run) == (Withheld.NO_ROWS, 30, 0)
    assert len(syncs.held()) == 30
    forced = syncs.ended(
        syncs.syncs.accept_deletes(NAME, run.job_id, Asked(by=called(), reason="empty"), force_empty=True)
    )
    assert counts(forced) == {"deleted": 30}
    assert syncs.held() == {}
    assert syncs.state.known_items == 0


def test_rows_without_an_id_withhold_and_doubled_or_rejected_rows_with_one_stay(make_sync_world):
    syncs = make_sync_world(60)
    syncs.run()
    syncs.sql("UPDATE {t} SET item_id = NULL WHERE number = 5")
    run = syncs.run()
    assert withheld(run) == (Withheld.ROWS_WITHOUT_ID, 1, 0)
    syncs.sql("UPDATE {t} SET item_id = 'MAINT-6' WHERE number = 5")
    syncs.sql("UPDATE {t} SET classification = 'WRONG' WHERE number = 7")
    syncs.sql("DELETE FROM {t} WHERE number = 8")
    run = syncs.run()
    assert (run.error_count, counts(run)["deleted"]) == (2, 2), run
    held = syncs.held()
    assert {"MAINT-6", "MAINT-7"} <= held.keys()
    assert not {"MAINT-5", "MAINT-8"} & held.keys()
    assert syncs.state.dirty_items == 1
    syncs.sql("UPDATE {t} SET classification = 'UNCLASS' WHERE number = 7")
    run = syncs.run()
    assert counts(run) == {"unchanged": 58, "failed": 1}, run
    assert syncs.state.dirty_items == 0


def test_a_changed_filter_deletes_nothing_in_its_first_run(make_sync_world):
    syncs = make_sync_world(50, spec={"filter": "number < 40"})
    assert counts(syncs.run()) == {"created": 40}
    syncs.update(filter="number < 30")
    run = syncs.run()
    assert withheld(run) == (Withheld.SPEC_CHANGED, 10, 0)
    run = syncs.run()
    assert counts(run) == {"unchanged": 30, "deleted": 10}
    assert len(syncs.held()) == 30


def test_deletes_wait_until_enough_runs_have_missed_the_item(make_sync_world):
    syncs = make_sync_world(50, spec={"guards": Guards(max_delete_share=1.0, confirm_runs=2)})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number IN (1, 2)")
    assert withheld(syncs.run()) == (Withheld.NOT_CONFIRMED, 2, 0)
    syncs.sql(
        "INSERT INTO {t} SELECT 'MAINT-1', tail_number, priority, 1, classification, last_modified FROM {t} LIMIT 1"
    )
    syncs.sql("DELETE FROM {t} WHERE number = 3")
    assert withheld(syncs.run()) == (Withheld.NOT_CONFIRMED, 1, 1)
    assert {"MAINT-1", "MAINT-3"} <= syncs.held().keys()
    assert withheld(syncs.run()) == (None, 0, 1)
    syncs.check_equal()


def test_runs_of_another_filter_confirm_nothing_whatever_else_was_wrong(make_sync_world):
    syncs = make_sync_world(50, spec={"guards": Guards(max_delete_share=1.0, confirm_runs=3)})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number = 1")
    syncs.run()
    syncs.run()
    syncs.update(filter="number < 1000")
    syncs.sql("UPDATE {t} SET item_id = NULL WHERE number = 5")
    assert withheld(syncs.run())[0] is Withheld.ROWS_WITHOUT_ID
    syncs.sql("UPDATE {t} SET item_id = 'MAINT-5' WHERE number = 5")
    assert withheld(syncs.run()) == (Withheld.NOT_CONFIRMED, 1, 0)


def test_an_item_must_have_been_missing_for_the_grace(make_sync_world):
    syncs = make_sync_world(50, spec={"guards": Guards(max_delete_share=1.0, grace_s=3600)})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number = 1")
    assert withheld(syncs.run()) == (Withheld.NOT_CONFIRMED, 1, 0)
    assert withheld(syncs.run()) == (Withheld.NOT_CONFIRMED, 1, 0)
    assert "MAINT-1" in syncs.held()


def test_no_more_than_max_deletes(make_sync_world):
    syncs = make_sync_world(50, spec={"guards": Guards(max_delete_share=1.0, max_deletes=2)})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number < 3")
    assert withheld(syncs.run()) == (Withheld.MAX_DELETES, 3, 0)
    syncs.sql(
        "INSERT INTO {t} SELECT 'MAINT-1', tail_number, priority, 1, classification, last_modified FROM {t} LIMIT 1"
    )
    assert withheld(syncs.run()) == (None, 0, 2)
    syncs.check_equal()


def test_items_stay_by_default_and_are_shown_as_missing(make_sync_world):
    syncs = make_sync_world(30, spec={"deletes": Deletes.KEEP})
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number = 1")
    assert withheld(syncs.run()) == (None, 0, 0)
    assert len(syncs.held()) == 30
    assert syncs.syncs.item(NAME, "MAINT-1", by=called()).state == "MISSING"
    assert syncs.syncs.item(NAME, "MAINT-2", by=called()).state == "SENT"


def test_a_refused_delete_keeps_the_item_and_is_an_error_of_its_own(make_sync_world):
    syncs = make_sync_world(30)
    syncs.run()
    syncs.world.catalog.set_faults(locked_ids=["MAINT-4"])
    syncs.sql("DELETE FROM {t} WHERE number IN (3, 4)")
    run = syncs.run()
    assert counts(run) == {"unchanged": 28, "deleted": 1, "delete_failed": 1}, run
    assert (run.status, run.error_count, run.total_items) == (Status.COMPLETED, 0, 28)
    errors, _ = syncs.syncs.show._jobs.errors(run.job_id, by=called())
    assert [(error.item_id, error.reason) for error in errors] == [("MAINT-4", Reason.DELETE_REFUSED)]
    syncs.world.catalog.clear_faults()
    assert counts(syncs.run()) == {"unchanged": 28, "deleted": 1}
    syncs.check_equal()


@pytest.mark.parametrize("catalog", [{}, {"batch_delete": False}, {"replace": False}])
def test_a_catalog_of_each_kind_ends_equal(make_sync_world, catalog):
    syncs = make_sync_world(120, **catalog)
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number % 3 = 0")
    syncs.sql("UPDATE {t} SET priority = 'X' WHERE number % 7 = 1")
    assert counts(syncs.run())["deleted"] == 40
    syncs.check_equal()


def test_a_catalog_that_cannot_delete_any_more_withholds(make_sync_world):
    syncs = make_sync_world(40)
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number = 1")
    syncs.world.catalog.set_faults(without=["deletes", "batch_delete"])
    for client in syncs.world.clients:
        if isinstance(client, Catalog):
            client._offer.forget()
    assert withheld(syncs.run()) == (Withheld.DESTINATION_CANNOT_DELETE, 1, 0)


def test_deletes_that_get_no_answer_are_repeated(make_sync_world):
    syncs = make_sync_world(60)
    syncs.run()
    syncs.sql("DELETE FROM {t} WHERE number < 20")
    syncs.world.catalog.set_faults(drop_reply={"only": "delete", "count": 2})
    run = syncs.run()
    assert counts(run) == {"unchanged": 40, "deleted": 20}
    syncs.check_equal()


def test_a_view_that_shrinks_while_it_is_read_deletes_nothing(make_sync_world):
    rows = maintenance_rows(40)
    syncs = make_sync_world(rows)
    syncs.run()
    syncs.world.warehouse_faults(short_result={"rows": 10})
    run = syncs.run()
    assert run.status is Status.FAILED
    assert run.report is None or run.report.counts.deleted == 0
    assert len(syncs.held()) == 40
