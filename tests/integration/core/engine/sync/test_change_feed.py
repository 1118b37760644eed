"""Runs over a change data feed: after each the catalog is the table."""

from __future__ import annotations

import random

import pytest
from tests.support.access import called
from tests.support.syncs import counts

from blade_server.core.syncs.sync_jobs import Asked
from blade_server.errors import Reason
from blade_server.model import JobKind, Status
from blade_server.model.sync import ChangeKind, Deletes, Guards
from blade_server.model.sync_report import SyncMode, Withheld

ON = "ALTER TABLE {t} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)"
NEW = (
    "INSERT INTO {t} SELECT 'NEW-%s', tail_number, priority, %s, classification, last_modified FROM {t} "
    "WHERE number = (SELECT min(number) FROM {t})"
)


@pytest.fixture
def make_feed(make_sync_world):
    def make(rows=300, **spec):
        syncs = make_sync_world(rows, spec={"mode": SyncMode.CHANGE_FEED, **spec})
        syncs.sql(ON)
        first = syncs.run()
        assert (first.status, counts(first)) == (Status.COMPLETED, {"created": rows}), first
        assert first.report.whole
        return syncs

    return make


def test_runs_after_the_first_read_what_changed(make_feed):
    syncs = make_feed()
    nothing = syncs.run()
    assert (nothing.status, counts(nothing), nothing.total_items) == (Status.COMPLETED, {}, 0), nothing.error_message
    syncs.sql("UPDATE {t} SET priority = 'CHANGED' WHERE number % 100 = 7")
    syncs.sql("UPDATE {t} SET tail_number = tail_number WHERE number = 100")
    syncs.sql("DELETE FROM {t} WHERE number BETWEEN 20 AND 24")
    syncs.sql(NEW % (1, 1000))
    syncs.sql("UPDATE {t} SET item_id = 'RENAMED' WHERE number = 30")
    plan = syncs.plan()
    wanted = {"created": 2, "updated": 3, "unchanged": 1, "deleted": 6}
    assert counts(plan) == wanted, plan
    assert "MAINT-30" in [one.item_id for one in syncs.changes(plan, ChangeKind.DELETE)]
    run = syncs.run()
    assert (run.status, counts(run)) == (Status.COMPLETED, wanted), run
    assert (run.total_items, run.report.whole, run.report.mode) == (6, False, SyncMode.CHANGE_FEED)
    syncs.check_equal()
    assert counts(syncs.run()) == {}
    assert syncs.missing() == 0


def test_an_apply_does_what_the_plan_of_a_feed_says(make_feed):
    syncs = make_feed()
    syncs.sql("UPDATE {t} SET priority = 'CHANGED' WHERE number < 3")
    syncs.sql("DELETE FROM {t} WHERE number = 20")
    plan = syncs.plan()
    rows = syncs.rows()
    syncs.sql("DELETE FROM {t} WHERE number = 21")
    applied = syncs.apply(plan)
    assert (applied.status, counts(applied)) == (Status.COMPLETED, {"updated": 3, "deleted": 1}), applied
    assert syncs.held().keys() == rows.keys()
    assert counts(syncs.run()) == {"deleted": 1}
    syncs.check_equal()


def test_a_row_that_went_and_came_again_stays_and_so_does_one_of_two(make_feed):
    syncs = make_feed(60)
    syncs.sql("DELETE FROM {t} WHERE number = 5")
    syncs.sql(
        "INSERT INTO {t} SELECT 'MAINT-5', tail_number, priority, 5, classification, last_modified FROM {t} "
        "WHERE number = 55"
    )
    syncs.sql(
        "INSERT INTO {t} SELECT item_id, 'OTHER', priority, 1000, classification, last_modified FROM {t} "
        "WHERE number = 7"
    )
    syncs.sql("DELETE FROM {t} WHERE number = 7")
    run = syncs.run()
    assert "deleted" not in counts(run), run
    syncs.check_equal()


def test_guards_withhold_and_accepted_deletes_take_place(make_feed):
    syncs = make_feed(guards=Guards())
    syncs.sql("DELETE FROM {t} WHERE number < 100")
    plan = syncs.plan()
    run = syncs.run()
    assert counts(run) == counts(plan) == {"withheld": 100}, run
    assert run.report.withheld_reason is Withheld.MAX_DELETE_SHARE
    assert (len(syncs.held()), syncs.missing()) == (300, 100)
    syncs.sql("UPDATE {t} SET priority = 'CHANGED' WHERE number = 200")
    again = syncs.run()
    assert counts(again) == {"updated": 1, "withheld": 100}, again
    accepted = syncs.ended(syncs.syncs.accept_deletes("keep", again.job_id, Asked(by=called(), reason="yes")))
    assert counts(accepted)["deleted"] == 100, accepted
    syncs.check_equal()
    assert counts(syncs.run()) == {}


def test_what_is_kept_is_noted_as_missing(make_feed):
    syncs = make_feed(60, deletes=Deletes.KEEP)
    syncs.sql("DELETE FROM {t} WHERE number < 3")
    assert counts(syncs.run()) == {}
    assert (len(syncs.held()), syncs.missing()) == (60, 3)


def test_what_failed_is_read_again_though_the_feed_does_not_have_it(make_feed):
    syncs = make_feed(60)
    syncs.sql("UPDATE {t} SET classification = 'NO SUCH', priority = 'X' WHERE number = 3")
    assert counts(syncs.run()) == {"failed": 1}
    assert counts(syncs.run()) == {"failed": 1}
    syncs.sql("UPDATE {t} SET classification = 'UNCLASS' WHERE number = 3")
    assert counts(syncs.run()) == {"updated": 1}
    syncs.check_equal()
    assert syncs.state.dirty_items == 0


def test_rows_without_an_id_hold_the_feed_until_they_are_mended(make_feed):
    syncs = make_feed(60)
    version = syncs.state.feed_version
    syncs.sql("UPDATE {t} SET item_id = NULL, priority = 'X' WHERE number = 3")
    run = syncs.run()
    assert counts(run) == {"failed": 1, "deleted": 1}, run
    assert (syncs.state.feed_version, len(run.report.warnings)) == (version, 1)
    syncs.sql("UPDATE {t} SET item_id = 'MENDED' WHERE number = 3")
    assert counts(syncs.run()) == {"created": 1}
    assert syncs.state.feed_version > version
    syncs.check_equal()


def test_a_column_that_comes_changes_the_items_of_all_rows_and_not_only_of_those_in_the_feed(make_feed):
    syncs = make_feed(60)
    syncs.sql("ALTER TABLE {t} ADD COLUMN note STRING")
    syncs.sql("UPDATE {t} SET note = 'X' WHERE number = 3")
    run = syncs.run()
    assert (run.report.whole, counts(run)) == (True, {"updated": 60}), run
    assert {"note" in data for data in syncs.held().values()} == {True}
    assert syncs.held()["MAINT-3"]["note"] == "X"
    syncs.sql("UPDATE {t} SET note = 'Y' WHERE number = 4")
    after = syncs.run()
    assert (after.report.whole, counts(after)) == (False, {"updated": 1}), after


GAPS = {
    "restored": ["UPDATE {t} SET priority = 'X' WHERE number = 1", "RESTORE TABLE {t} TO VERSION AS OF 1"],
    "dropped": [
        "CREATE TABLE {t}_2 AS SELECT * FROM {t} WHERE number < 50",
        "DROP TABLE {t}",
        "CREATE TABLE {t} TBLPROPERTIES (delta.enableChangeDataFeed = true) AS SELECT * FROM {t}_2",
        "UPDATE {t} SET number = number",
        "UPDATE {t} SET number = number",
        "UPDATE {t} SET number = number",
    ],
    "vacuumed": ["DELETE FROM {t} WHERE number = 1", "VACUUM {t} RETAIN 0 HOURS"],
    "another": ["CREATE OR REPLACE TABLE {t} AS SELECT * FROM {t} WHERE number < 50"],
    "off": [
        "ALTER TABLE {t} SET TBLPROPERTIES (delta.enableChangeDataFeed = false)",
        "DELETE FROM {t} WHERE number = 1",
    ],
}


@pytest.mark.parametrize("case", GAPS)
def test_a_gap_fails_the_run_and_the_next_one_reads_all_rows(make_feed, case):
    syncs = make_feed(60)
    for statement in GAPS[case]:
        syncs.sql(statement)
    run = syncs.run()
    assert (run.status, run.error_reason) == (Status.FAILED, Reason.CHANGE_FEED_GAP), run
    assert syncs.state.feed_version is None
    again = syncs.run()
    assert (again.status, again.report.whole) == (Status.COMPLETED, True), again
    syncs.check_equal()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_history_leaves_the_catalog_equal_to_the_table(make_feed, seed):
    syncs, chance = make_feed(120), random.Random(seed)
    steps = [
        lambda at: f"UPDATE {{t}} SET priority = 'P{chance.randrange(9)}' WHERE number % 17 = {at % 17}",
        lambda at: f"DELETE FROM {{t}} WHERE number % 23 = {at % 23}",
        lambda at: NEW % (at, 1000 + at),
        lambda at: f"UPDATE {{t}} SET item_id = 'MOVED-{at}' WHERE number = {at % 120}",
        lambda at: f"UPDATE {{t}} SET number = number WHERE number % 11 = {at % 11}",
    ]
    for run in range(8):
        for at in range(chance.randrange(4)):
            syncs.sql(chance.choice(steps)(100 * run + at))
        job = syncs.run(*([JobKind.SYNC] if chance.random() < 0.9 else []), whole=chance.random() < 0.1)
        assert job.status is Status.COMPLETED, job
        syncs.check_equal()
