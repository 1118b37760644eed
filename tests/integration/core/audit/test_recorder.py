"""What no transaction of PostgreSQL does is told all the same: effects outside of it, and readings of rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.access import called
from tests.support.waiting import wait_until

from blade_server.app.policies import job_policy
from blade_server.core.audit import recorder as module
from blade_server.core.audit.recorder import Recorder
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.preview import Preview
from blade_server.errors import ConnectionTestFailed, NotFound, StorageUnavailable
from blade_server.model import RowQuery
from blade_server.model.access import Deed
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.jobs.show import JobStore

ANNA = called("anna")
ID = "MAINT-AF-012-2024"


@pytest.fixture
def told(database: Database, recorder: Recorder) -> Callable[[], list[tuple[str, str, str]]]:
    """(object, outcome, detail) of the entries of anna."""

    def read() -> list[tuple[str, str, str]]:
        recorder.flush()
        found = [entry.fields for entry in AuditStore(database).after(0, limit=99)]
        return [(entry["object"], entry["outcome"], entry["detail"]) for entry in found if entry["actor"] == "anna"]

    return read


@pytest.mark.usefixtures("stored")
class TestReadings:
    SOURCE = ("source:blade-maintenance", "DONE", "")

    def test_a_query_is_told_once_whatever_is_read_of_it(self, queries, told):
        for query in (queries.items, queries.arrow):
            stream = query(RowQuery(data_type="maintenance", limit=2000), by=ANNA)
            list(stream)
            stream.close()
        assert told() == [self.SOURCE] * 2

    def test_a_query_that_was_not_let_through_is_none(self, queries, told):
        with pytest.raises(NotFound):
            queries.items(RowQuery(data_type="nothing"), by=ANNA)
        assert told() == []

    def test_one_item_and_a_preview(self, queries, settings, sources, recorder, database, told):
        queries.item(data_type="maintenance", item_id=ID, by=ANNA)
        jobs = Jobs.over(
            job_policy(settings), database, JobStore(database), sources, recorder=recorder, wake=lambda: None
        )
        jobs.preview(Preview(source="blade-maintenance", limit=1), by=ANNA)
        assert told() == [self.SOURCE] * 2


@pytest.mark.usefixtures("stored")
class TestIngest:
    def test_an_upload_is_told_before_and_after_and_what_was_there_already_is_none(self, ingest, told):
        for _ in range(2):
            ingest.ingest(data_type="maintenance", item_id=ID, by=ANNA)
        begun, done = told()
        assert begun == ("source:blade-maintenance", "BEGUN", "upload of an item")
        assert done[1] == "DONE"
        assert done[2].startswith("upload of an item, begun as ")

    def test_an_upload_that_failed_is_told_with_its_reason(self, ingest, told, catalog_server):
        catalog_server.set_faults(status={"code": 403, "only": "single"})
        with pytest.raises(Exception, match="403"):
            ingest.ingest(data_type="maintenance", item_id=ID, by=ANNA)
        _, failed = told()
        assert failed[1] == "FAILED"
        assert failed[2].endswith(": CATALOG_DENIED")

    def test_nothing_is_uploaded_that_cannot_be_told(self, ingest, recorder, catalog_server, monkeypatch):
        def away(deeds: Any) -> int:
            raise StorageUnavailable("away")

        monkeypatch.setattr(recorder._store, "append", away)
        with pytest.raises(StorageUnavailable):
            ingest.ingest(data_type="maintenance", item_id=ID, by=ANNA)
        monkeypatch.undo()
        assert ingest.ingest(data_type="maintenance", item_id=ID).outcome == "CREATED"

    def test_what_is_done_is_told_later_if_postgresql_has_gone_meanwhile(self, ingest, recorder, told, monkeypatch):
        append = recorder._store.append
        answers = [append]

        def away_behind_the_first(deeds: Any) -> int:
            if not answers:
                raise StorageUnavailable("away")
            return answers.pop()(deeds)

        monkeypatch.setattr(recorder._store, "append", away_behind_the_first)
        assert ingest.ingest(data_type="maintenance", item_id=ID, by=ANNA).outcome == "CREATED"
        monkeypatch.undo()
        assert [outcome for _, outcome, _ in told()] == ["BEGUN", "DONE"]


class TestSources:
    def test_a_connection_test_is_told_before_and_after_and_the_change_by_itself(self, sources, source, told):
        sources.add(source(), by=ANNA)
        about = "source:blade-maintenance"
        assert told() == [
            (about, "BEGUN", "connection test"),
            (about, "DONE", "connection test, begun as 1"),
            (about, "DONE", ""),
        ]
        sources.test("blade-maintenance", by=ANNA)
        assert [outcome for _, outcome, _ in told()[3:]] == ["BEGUN", "DONE"]

    def test_one_that_failed_changes_nothing(self, sources, source, told):
        with pytest.raises(ConnectionTestFailed):
            sources.add(source(table="nowhere"), by=ANNA)
        assert [outcome for _, outcome, _ in told()] == ["BEGUN", "FAILED"]
        assert told()[1][2] == "connection test, begun as 1: CONNECTION_TEST_FAILED"


class TestThread:
    def test_it_writes_what_is_noted_and_the_rest_when_it_stops(self, recorder, database):
        minutes: list[float] = []
        recorder.start(lambda: minutes.append(time.monotonic()))
        recorder.note(ANNA, Deed(about="job:1"))
        wait_until(lambda: AuditStore(database).head().number == 1)
        for number in range(1200):
            recorder.read(ANNA, f"job:{number}")
        recorder.stop()
        assert AuditStore(database).head().number == 1201
        assert len(minutes) >= 2  # the first, and a last one when all is written

    def test_it_goes_on_once_postgresql_is_back_and_in_order(self, recorder, database, monkeypatch, caplog):
        monkeypatch.setattr(module, "_AFTER_FAILURE_S", 0.01)
        append, failures = recorder._store.append, [1, 2, 3]

        def flaky(deeds: Any) -> int:
            if failures:
                failures.pop()
                raise StorageUnavailable("away")
            return append(deeds)

        monkeypatch.setattr(recorder._store, "append", flaky)
        recorder.start(lambda: None)
        for number in range(3):
            recorder.note(ANNA, Deed(about=f"job:{number}"))
        wait_until(lambda: AuditStore(database).head().number == 3)
        recorder.stop()
        told = [entry.fields["object"] for entry in AuditStore(database).after(0, limit=9)]
        assert told == ["job:0", "job:1", "job:2"]
        assert "entries of the audit log wait: away" in caplog.text

    def test_no_rows_are_read_once_too_much_waits(self, recorder, monkeypatch):
        monkeypatch.setattr(module, "MOST_WAITING", 2)
        for _ in range(2):
            recorder.read(ANNA, "job:1")
        with pytest.raises(StorageUnavailable, match="no rows are read until it can be"):
            recorder.read(ANNA, "job:1")
        assert not recorder.note(ANNA, Deed())
        recorder.flush()
        recorder.read(ANNA, "job:1")


def test_a_job_is_told_when_it_is_started_and_what_servers_do_for_it_is_not(make_world, ended):
    world = make_world(120)
    world.runner()
    world.begin()
    job = ended(world, world.begin())
    assert job.success_count == 120
    told = [entry.fields["object"] for entry in AuditStore(world.database).after(0, limit=99)]
    assert [about.partition(":")[0] for about in told] == ["source", "job", "job"]
