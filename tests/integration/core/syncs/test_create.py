"""New syncs: what they may say, whose items are whose, and who wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from tests.integration.core.syncs.conftest import SOURCE, a_sync, asked, audited
from tests.support.access import called, called_by
from tests.support.waiting import wait_until

from blade_sandbox.catalog import CatalogServer
from blade_server.errors import AlreadyExists, Invalid, NotFound, Precondition, Reason
from blade_server.model import JobLimits
from blade_server.model.access import Role
from blade_server.model.sync import Cursor, Deletes, Guards, Schedule, SyncRetry
from blade_server.model.sync_report import SyncMode

INCREMENTAL = SyncMode.INCREMENTAL


def fields(caught: Any) -> set[str]:
    return {violation.field for violation in caught.value.violations}


def test_a_sync_is_stored_as_it_was_asked_for_and_told_to_the_audit_log(syncs, database) -> None:
    spec = a_sync(
        filter="priority = 'HIGH'",
        mode=INCREMENTAL,
        cursor=Cursor(column="last_modified", lag_s=60),
        schedule=Schedule(cron="30 2 * * *", time_zone="Europe/Berlin"),
        deletes=Deletes.DELETE,
        guards=Guards(max_deletes=5, confirm_runs=2),
        metadata={"fleet": "7"},
        limits=JobLimits(max_errors=3),
        retry=SyncRetry(attempts=2, base_s=0.5),
    )
    made = syncs.create("maintenance", spec)
    assert replace(syncs.show.get("maintenance"), read_time=made.read_time) == made
    assert made.spec == spec
    assert (made.owner.name, made.data_type, made.paused) == ("anybody", "maintenance", False)
    assert made.next_run_time is not None
    assert audited(database, "sync:maintenance") == [("", "")]


def test_all_wrong_fields_are_named_at_once(syncs) -> None:
    wrong = a_sync(
        source="",
        destination="No",
        filter="a = 1",
        sql="SELECT 1",
        mode=INCREMENTAL,
        cursor=Cursor(column=" ", lag_s=-1, full_every_s=60),
        schedule=Schedule(every_s=1),
        guards=Guards(max_delete_share=0, max_deletes=-1, confirm_runs=0, grace_s=-1),
        scope="a\nb",
        batch_size=0,
        workers=65,
        limits=JobLimits(items_per_second=-1, max_errors=-1, max_error_share=2),
        metadata={" ": "x"},
        classification="NONE",
        item_id="{",
        last_modified="a\tb",
        retry=SyncRetry(attempts=21, base_s=0),
        max_age_s=-1,
        pause_after_failures=-1,
        notifications=("No", "a", "a"),
    )
    with pytest.raises(Invalid) as caught:
        syncs.create("Maintenance", wrong)
    names = (
        *("source", "destination", "filter", "sql", "cursor.column", "cursor.lag", "cursor.full_every"),
        *("schedule.every", "guards.max_delete_share", "guards.max_deletes", "guards.confirm_runs", "guards.grace"),
        *("scope", "batch_size", "workers", "limits.items_per_second", "limits.max_errors", "limits.max_error_share"),
        *("metadata", "classification", "item_id", "last_modified", "retry.attempts", "retry.base", "max_age"),
        *("pause_after_failures", "notifications[0]", "notifications[2]"),
    )
    assert fields(caught) == {"sync.name", *(f"sync.spec.{name}" for name in names)}
    with pytest.raises(NotFound):
        syncs.show.get("Maintenance")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"mode": INCREMENTAL}, "cursor"),
        ({"cursor": Cursor(column="cost")}, "cursor"),
        ({"mode": INCREMENTAL, "cursor": Cursor(column="cost"), "sql": f"SELECT * FROM `{SOURCE}`"}, "sql"),
        ({"mode": SyncMode.CHANGE_FEED, "sql": f"SELECT * FROM `{SOURCE}`"}, "sql"),
        ({"mode": SyncMode.CHANGE_FEED, "filter": "cost > 1"}, "filter"),
        ({"mode": SyncMode.FULL, "deletes": Deletes.DELETE}, "deletes"),
        ({"schedule": Schedule()}, "schedule.cron"),
        ({"schedule": Schedule(cron="* * * * *", every_s=60)}, "schedule.cron"),
        ({"schedule": Schedule(cron="0 * * * * *")}, "schedule.cron"),
        ({"schedule": Schedule(cron="0 0 31 2 *")}, "schedule.cron"),
        ({"schedule": Schedule(cron="0 0 * * *", time_zone="Mars/Base")}, "schedule.time_zone"),
        ({"sql": "DELETE FROM x"}, "sql"),
        ({"sql": "SELECT * FROM nobody"}, "sql"),
        ({"filter": "SELECT 1"}, "filter"),
        ({"mode": INCREMENTAL, "cursor": Cursor(column="last_modifed")}, "cursor.column"),
        ({"mode": INCREMENTAL, "cursor": Cursor(column="cost", lag_s=60)}, "cursor.lag"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_field(syncs, spec, field) -> None:
    with pytest.raises(Invalid) as caught:
        syncs.create("maintenance", a_sync(**spec))
    assert fields(caught) == {f"sync.spec.{field}"}
    with pytest.raises(NotFound):
        syncs.show.get("maintenance")


def test_a_misspelt_cursor_column_is_told_from_the_one_that_was_meant(syncs) -> None:
    with pytest.raises(Invalid, match="did you mean 'last_modified'"):
        syncs.create("maintenance", a_sync(mode=INCREMENTAL, cursor=Cursor(column="last_modifed")))


def test_what_is_not_there_is_named(syncs, sources) -> None:
    with pytest.raises(NotFound, match="there is no source 'nobody'") as unknown:
        syncs.create("maintenance", a_sync(source="nobody"))
    assert unknown.value.reason is Reason.SOURCE_NOT_FOUND
    with pytest.raises(Invalid, match="there is no notification 'oncall'") as untold:
        syncs.create("maintenance", a_sync(notifications=("oncall",)))
    assert untold.value.reason is Reason.NOTIFICATION_NOT_FOUND
    source = sources.get(SOURCE)
    sources.update(replace(source, enabled=False), {"enabled"})
    with pytest.raises(Precondition) as switched_off:
        syncs.create("maintenance", a_sync())
    assert switched_off.value.reason is Reason.SOURCE_DISABLED


def test_deletes_are_refused_where_the_catalog_cannot_delete(syncs, catalog_server: CatalogServer) -> None:
    assert syncs.create("can", a_sync(deletes=Deletes.DELETE, destination="deletes")).spec.deletes is Deletes.DELETE


class TestWithoutDeletes:
    @pytest.fixture
    def catalog_server(self, tmp_path):
        with CatalogServer(directory=tmp_path / "catalog", deletes=False) as server:
            yield server

    def test_deletes_are_refused(self, syncs) -> None:
        with pytest.raises(Precondition, match="cannot delete") as caught:
            syncs.create("maintenance", a_sync(deletes=Deletes.DELETE))
        assert caught.value.reason is Reason.DELETE_REFUSED
        syncs.create("maintenance", a_sync())
        with pytest.raises(Precondition, match="cannot delete"):
            syncs.update("maintenance", lambda spec: a_sync(deletes=Deletes.DELETE))


def test_a_name_is_taken_once(syncs, sync) -> None:
    with pytest.raises(AlreadyExists, match="a sync named 'maintenance' exists") as caught:
        syncs.create("maintenance", a_sync(source="exact"))
    assert caught.value.reason is Reason.SYNC_EXISTS


def test_items_belong_to_one_sync_or_to_several_with_scopes(syncs) -> None:
    syncs.create("one", a_sync(scope="tails AF-0*"))
    for spec in (a_sync(), a_sync(scope="tails AF-0*")):
        with pytest.raises(AlreadyExists, match="sync 'one' writes the items of data type 'maintenance'") as caught:
            syncs.create("two", spec)
        assert caught.value.reason is Reason.SYNC_EXISTS
    syncs.create("two", a_sync(scope="tails AF-1*"))
    syncs.create("elsewhere", a_sync(destination="elsewhere"))
    with pytest.raises(AlreadyExists):
        syncs.update("two", lambda _: a_sync())
    with pytest.raises(AlreadyExists):
        syncs.update("elsewhere", lambda _: a_sync(), keep_old=True)


def test_a_sync_that_one_may_not_see_is_not_named(syncs, store, source) -> None:
    store.add(source("other", "maintenance"))
    syncs.create("secret", a_sync(source="other"))
    by = called_by("eve", Role.EDITOR, (Role.EDITOR, f"source:{SOURCE}"))
    with pytest.raises(AlreadyExists) as caught:
        syncs.create("mine", a_sync(), by=by)
    assert "secret" not in caught.value.message
    assert caught.value.metadata == {}


def test_a_repeated_call_gives_the_first_sync_whatever_became_of_it(syncs) -> None:
    first = syncs.create("maintenance", a_sync(), request_id="r1")
    syncs.update("maintenance", lambda _: a_sync(batch_size=7))
    again = syncs.create("maintenance", a_sync(), request_id="r1")
    assert (again.create_time, again.spec.batch_size) == (first.create_time, 7)
    with pytest.raises(Invalid) as caught:
        syncs.create("maintenance", a_sync(batch_size=9), request_id="r1")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


def test_a_check_stores_nothing_and_says_what_a_call_would(syncs, sync) -> None:
    assert syncs.create("other", a_sync(source="exact"), validate_only=True).name == "other"
    with pytest.raises(NotFound):
        syncs.show.get("other")
    for name, spec in (("maintenance", a_sync(source="exact")), ("other", a_sync())):
        with pytest.raises(AlreadyExists):
            syncs.create(name, spec, validate_only=True)


@pytest.mark.parametrize("names", [["one"] * 6, [f"sync-{n}" for n in range(6)]], ids=["one name", "one place"])
def test_of_many_calls_at_once_exactly_one_wins(syncs, names) -> None:
    def create(name: str) -> str:
        try:
            return syncs.create(name, a_sync()).name
        except AlreadyExists:
            return ""

    with ThreadPoolExecutor(len(names)) as pool:
        made = [name for name in pool.map(create, names) if name]
    assert len(made) == 1
    assert [found.name for found in syncs.show.list()[0]] == made


def test_a_source_that_is_removed_at_the_same_moment_leaves_no_sync_behind(syncs, database) -> None:
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def watching(query) -> int:
        with database.read() as connection:
            return connection.execute(query).scalar_one()

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as removing:
            removing.execute(text("DELETE FROM source WHERE name = :name"), {"name": SOURCE})
            made = pool.submit(syncs.create, "maintenance", a_sync())
            wait_until(lambda: made.done() or watching(waits))
        with pytest.raises(NotFound) as caught:
            made.result()
    assert caught.value.reason is Reason.SOURCE_NOT_FOUND


def test_a_source_with_syncs_stays_and_keeps_its_data_type(syncs, sync, sources, store) -> None:
    with pytest.raises(Precondition, match="is read by the syncs maintenance; delete them first") as caught:
        sources.remove(SOURCE)
    assert caught.value.reason is Reason.SOURCE_IN_USE
    source = sources.get(SOURCE)
    with pytest.raises(Precondition, match="data type cannot change") as caught:
        store.update(replace(source, data_type="other"), source.etag)
    assert caught.value.reason is Reason.SOURCE_IN_USE
    syncs.control.delete("maintenance")
    sources.remove(SOURCE)


class TestClone:
    def test_a_copy_is_paused_and_differs_as_it_was_said(self, syncs, sync, database) -> None:
        syncs.run("maintenance", asked())
        copy = syncs.clone("maintenance", "copy", lambda spec: a_sync(destination="elsewhere"), reason="trial")
        assert (copy.paused, copy.state.run_number, copy.running_job_id) == (True, 0, "")
        assert copy.spec == a_sync(destination="elsewhere")
        assert audited(database, "sync:copy") == [("trial", "a copy of maintenance")]

    def test_a_copy_that_would_write_the_same_items_is_refused(self, syncs, sync) -> None:
        with pytest.raises(AlreadyExists):
            syncs.clone("maintenance", "copy", lambda spec: spec)

    def test_who_may_not_edit_the_source_of_the_copy_gets_none(self, syncs, sync) -> None:
        by = called_by("eve", Role.EDITOR, (Role.EDITOR, f"source:{SOURCE}"))
        with pytest.raises(NotFound):
            syncs.clone("maintenance", "copy", lambda _: a_sync(source="exact"), by=by)


def test_the_caller_is_who_due_runs_act_for(syncs) -> None:
    by = called_by("eve", Role.EDITOR, (Role.EDITOR, "*"))
    assert syncs.create("maintenance", a_sync(), by=by).owner.name == "eve"
    assert syncs.control.own("maintenance", by=called()).owner.name == "anybody"
