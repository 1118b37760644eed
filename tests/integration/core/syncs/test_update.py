"""Changes of a sync: atomic, guarded by the etag, for the next run; pause, resume, delete, reset."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text
from tests.integration.core.syncs.conftest import SOURCE, a_sync, asked, audited
from tests.support.access import called_by

from blade_server.errors import AccessDenied, Conflict, Invalid, NotFound, Precondition, Reason
from blade_server.model.access import Role
from blade_server.model.sync import Schedule


def test_what_changes_is_stored_with_a_new_etag_and_owner(syncs, sync, database) -> None:
    by = called_by("eve", Role.EDITOR, (Role.EDITOR, f"source:{SOURCE}"))
    changed = syncs.update("maintenance", lambda spec: replace(spec, batch_size=7), by=by, reason="smaller")
    assert changed.spec == a_sync(batch_size=7)
    assert changed.etag != sync.etag
    assert changed.owner.name == "eve"
    assert audited(database, "sync:maintenance")[1:] == [("smaller", "")]


def test_nothing_changes_without_a_change(syncs, sync, database) -> None:
    by = called_by("eve", Role.EDITOR, (Role.EDITOR, f"source:{SOURCE}"))
    again = syncs.update("maintenance", lambda spec: spec, by=by)
    assert (again.etag, again.owner) == (sync.etag, sync.owner)
    assert len(audited(database, "sync:maintenance")) == 1


def test_an_old_etag_changes_nothing(syncs, sync) -> None:
    syncs.update("maintenance", lambda spec: replace(spec, batch_size=7), etag=sync.etag)
    with pytest.raises(Conflict):
        syncs.update("maintenance", lambda spec: replace(spec, batch_size=8), etag=sync.etag)
    with pytest.raises(Conflict):
        syncs.control.delete("maintenance", etag=sync.etag)
    assert syncs.show.get("maintenance").spec.batch_size == 7


def test_changes_of_different_fields_at_once_all_count(syncs, sync) -> None:
    changes = [
        lambda spec: replace(spec, batch_size=7),
        lambda spec: replace(spec, workers=3),
        lambda spec: replace(spec, adopt=True),
    ]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda change: syncs.update("maintenance", change), changes))
    assert syncs.show.get("maintenance").spec == a_sync(batch_size=7, workers=3, adopt=True)


def test_the_source_never_changes(syncs, sync) -> None:
    with pytest.raises(Invalid, match=r"sync.spec.source: never changes"):
        syncs.update("maintenance", lambda spec: replace(spec, source="exact"))


def test_another_destination_needs_a_word_and_forgets_what_is_known(syncs, sync, database, set_job) -> None:
    run = syncs.run("maintenance", asked())
    know(database, 7)

    def move(**options):
        return syncs.update("maintenance", lambda spec: replace(spec, destination="new"), **options)

    with pytest.raises(Precondition, match="has 7 items in destination 'default'") as caught:
        move()
    assert caught.value.reason is Reason.SYNC_STATE
    with pytest.raises(Precondition) as caught:
        move(keep_old=True)
    assert (caught.value.reason, caught.value.metadata["job_id"]) == (Reason.SYNC_BUSY, run.job_id)
    set_job(run.job_id, status="COMPLETED")
    moved = move(keep_old=True)
    assert moved.state.generation == 1
    assert (moved.state.known_items, moved.state.watermark, moved.state.key_hash) == (0, "", "")
    assert left(database) == {"blocks": 0, "missing": 0, "not folded": 0}


def test_pause_and_resume_do_once_what_they_say(syncs, database) -> None:
    syncs.create("maintenance", a_sync(schedule=Schedule(every_s=3600)))
    for _ in range(2):
        paused = syncs.control.pause("maintenance", reason="holiday")
        assert (paused.paused, paused.pause_reason, paused.next_run_time) == (True, "by tester: holiday", None)
    for _ in range(2):
        resumed = syncs.control.resume("maintenance")
        assert (resumed.paused, resumed.pause_reason) == (False, "")
        assert resumed.next_run_time is not None
    assert audited(database, "sync:maintenance")[1:] == [("holiday", ""), ("", "")]


def test_a_pause_leaves_the_running_job_alone(syncs, sync, jobs) -> None:
    run = syncs.run("maintenance", asked())
    syncs.control.pause("maintenance")
    assert jobs.show.get(run.job_id).pending_action is None
    assert syncs.show.get("maintenance").running_job_id == run.job_id


def test_a_sync_goes_with_what_it_knows_and_its_items_stay(syncs, sync, database, set_job) -> None:
    run = syncs.run("maintenance", asked())
    know(database, 3)
    with pytest.raises(Precondition) as caught:
        syncs.control.delete("maintenance")
    assert caught.value.reason is Reason.SYNC_BUSY
    set_job(run.job_id, status="FAILED")
    assert syncs.control.delete("maintenance", reason="over") == 3
    with pytest.raises(NotFound):
        syncs.show.get("maintenance")
    assert left(database) == {"blocks": 0, "missing": 0, "not folded": 0}
    assert audited(database, "sync:maintenance")[-1] == ("over", "3 items stay in destination default")


def test_a_new_sync_of_the_name_knows_nothing_of_the_old_one(syncs, sync, set_job) -> None:
    run = syncs.run("maintenance", asked())
    set_job(run.job_id, status="COMPLETED")
    syncs.control.delete("maintenance")
    syncs.create("maintenance", a_sync())
    anew = syncs.show.get("maintenance")
    assert (anew.last_run, anew.state.run_number) == (None, 0)
    assert syncs.show.runs("maintenance")[0] == []
    with pytest.raises(NotFound):
        syncs.show.report("maintenance", run.job_id)


def test_a_reset_forgets_all_and_deletes_nothing(syncs, sync, database, set_job) -> None:
    run = syncs.run("maintenance", asked())
    know(database, 5)
    with pytest.raises(Precondition):
        syncs.reset("maintenance")
    set_job(run.job_id, status="CANCELLED")
    reset, forgotten = syncs.reset("maintenance", reason="again")
    assert (reset.state.known_items, reset.state.generation, forgotten) == (0, 1, 5)
    assert left(database) == {"blocks": 0, "missing": 0, "not folded": 0}
    assert audited(database, "sync:maintenance")[-1] == ("again", "5 items forgotten")


def test_who_may_only_look_changes_nothing(syncs, sync) -> None:
    by = called_by("eve", Role.EDITOR, (Role.READER, f"source:{SOURCE}"), (Role.EDITOR, "source:exact"))
    stranger = called_by("eve", Role.EDITOR, (Role.EDITOR, "source:exact"))
    for call in (
        lambda **who: syncs.update("maintenance", lambda spec: replace(spec, batch_size=7), **who),
        lambda **who: syncs.control.pause("maintenance", **who),
        lambda **who: syncs.control.delete("maintenance", **who),
        lambda **who: syncs.reset("maintenance", **who),
        lambda **who: syncs.control.own("maintenance", **who),
    ):
        with pytest.raises(AccessDenied):
            call(by=by)
        with pytest.raises(NotFound, match="there is no sync 'maintenance'"):
            call(by=stranger)
    assert replace(syncs.show.get("maintenance"), read_time=sync.read_time) == sync


def know(database, items: int) -> None:
    """As after a run."""
    with database.begin() as connection:
        known = "UPDATE sync SET known_items = :items, watermark = 'w', key_hash = 'k'"
        connection.execute(text(known), {"items": items})
        columns = "sync, low, size, keys, contents, runs, marks, item_ids"
        connection.execute(
            text(f"INSERT INTO sync_block ({columns}) VALUES ('maintenance', '', 1, '', '', '', '', '')")
        )
        connection.execute(text("INSERT INTO sync_missing VALUES ('maintenance', '', 'x', 1, now(), 'job-1', 1)"))


def left(database) -> dict[str, int]:
    queries = {
        "blocks": "SELECT count(*) FROM sync_block",
        "missing": "SELECT count(*) FROM sync_missing",
        "not folded": "SELECT count(*) FROM job WHERE NOT folded",
    }
    with database.begin() as connection:
        return {name: connection.execute(text(query)).scalar_one() for name, query in queries.items()}
