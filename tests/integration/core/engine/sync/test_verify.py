"""Comparisons of a catalog with the rows, and repairs."""

from __future__ import annotations

import json

import pytest
import requests
from tests.support.syncs import DATA_SOURCE, NAME, counts

from blade_server.catalog import Catalog
from blade_server.model import JobKind, Status
from blade_server.model.sync import ChangeKind
from blade_server.model.sync_end import SyncEnd
from blade_server.model.sync_report import SyncMode, SyncReport
from blade_server.storage.jobs.sync_end import end_in_sync


def verify(syncs, **told):
    return syncs.run(JobKind.VERIFY, **told)


def ids(syncs, job, kind):
    return [change.item_id for change in syncs.changes(job, kind)]


def spoil(syncs, *, gone=(), other=(), more=()):
    """Items of the catalog, changed behind the sync's back."""
    files = {item["itemId"]: item["file"] for item in syncs.listed()}
    for item_id in gone:
        syncs.client.delete(DATA_SOURCE, [item_id])
    for item_id in [*other, *more]:
        file = dict(files.get(item_id) or next(iter(files.values())), itemId=item_id)
        file["data"] = {**file["data"], "priority": "SPOILT"}
        put(syncs, file)


def put(syncs, file):
    answer = requests.post(
        f"{syncs.world.catalog.url}/v1/items",
        files={"file": ("blade_item.json", json.dumps(file), "application/json")},
        data={
            "dataSource": DATA_SOURCE,
            "classification": file["classification"],
            "metadata": json.dumps(file["metadata"]),
            "timestamp": "2024-01-10T10:00:00Z",
        },
        timeout=30,
    )
    assert answer.status_code in {200, 201}, answer.text


@pytest.fixture
def spoilt(make_sync_world):
    def make(**options):
        syncs = make_sync_world(300, **options)
        syncs.run()
        spoil(syncs, gone=["MAINT-5", "MAINT-50"], other=["MAINT-7"], more=["ALIEN-1"])
        return syncs

    return make


def test_an_equal_catalog_is_found_to_be_equal(make_sync_world):
    syncs = make_sync_world(300)
    syncs.run()
    before = syncs.state
    job = verify(syncs)
    assert (job.status, counts(job)) == (Status.COMPLETED, {"unchanged": 300}), job
    assert (job.success_count, job.skipped_count, job.total_items) == (0, 300, 300)
    assert not job.report.warnings
    assert syncs.state.generation == before.generation


def test_requests_of_a_repair_have_time_to_end(make_sync_world):
    syncs = make_sync_world(10, runner=False)
    job = syncs.begin(JobKind.VERIFY, repair=True)
    report = SyncReport(run_number=1, mode=SyncMode.CHANGED)
    with syncs.world.database.begin() as connection:
        end_in_sync(connection, job.job_id, Status.COMPLETED, SyncEnd(report=report, unsettled_s=60.0))
    assert syncs.world.stores.syncs.states.ages(NAME)[1] > 30


def test_what_is_missing_different_or_extra_is_told_with_ids(spoilt):
    syncs = spoilt()
    uploads = syncs.world.catalog.status()["uploads"]
    job = verify(syncs)
    assert counts(job) == {"created": 2, "updated": 1, "deleted": 1, "unchanged": 297}, job
    assert ids(syncs, job, ChangeKind.CREATE) == ["MAINT-5", "MAINT-50"]
    (different,) = syncs.changes(job, ChangeKind.UPDATE)
    assert (different.item_id, [(one.field, one.before, one.after) for one in different.fields]) == (
        "MAINT-7",
        [("data.priority", '"SPOILT"', '"HIGH"')],
    )
    assert ids(syncs, job, ChangeKind.DELETE) == ["ALIEN-1"]
    assert syncs.world.catalog.status()["uploads"] == uploads


def test_a_repair_sends_what_is_missing_or_different_and_deletes_nothing(spoilt):
    syncs = spoilt()
    job = verify(syncs, repair=True)
    assert (job.status, counts(job)) == (Status.COMPLETED, {"created": 2, "updated": 1, "deleted": 1, "unchanged": 297})
    assert (job.success_count, job.skipped_count) == (3, 297)
    assert "ALIEN-1" in syncs.held()
    syncs.check_equal(but=["ALIEN-1"])
    again = verify(syncs)
    assert counts(again) == {"deleted": 1, "unchanged": 300}
    assert counts(syncs.run()) == {"unchanged": 300}


@pytest.mark.parametrize("repair", [False, True])
def test_without_a_list_ids_are_looked_up_and_extras_are_not(spoilt, repair):
    syncs = spoilt()
    syncs.world.catalog.set_faults(without=["list"])
    job = verify(syncs, repair=repair)
    assert counts(job) == {"created": 2, "updated": 1, "unchanged": 297}, job
    assert ids(syncs, job, ChangeKind.CREATE) == ["MAINT-5", "MAINT-50"]
    assert ids(syncs, job, ChangeKind.UPDATE) == ["MAINT-7"]
    assert "extras were not checked: the catalog has no list" in job.report.warnings
    if repair:
        syncs.world.catalog.set_faults(without=[])
        syncs.check_equal(but=["ALIEN-1"])


def test_extras_that_a_sync_with_a_scope_does_not_know_are_not_its_own(spoilt):
    syncs = spoilt(spec={"scope": "mine"})
    syncs.sql("DELETE FROM {t} WHERE number = 9")
    job = verify(syncs)
    assert counts(job) == {"created": 2, "updated": 1, "deleted": 1, "unchanged": 296}, job
    assert ids(syncs, job, ChangeKind.DELETE) == ["MAINT-9"]
    assert any("ALIEN" in words or "1 items" in words for words in job.report.warnings), job.report.warnings


def test_rows_that_are_rejected_or_doubled_are_no_extras(make_sync_world):
    syncs = make_sync_world(60)
    syncs.run()
    syncs.sql("UPDATE {t} SET classification = 'NO SUCH' WHERE number = 3")
    syncs.sql(
        "INSERT INTO {t} SELECT item_id, 'OTHER', priority, number, classification, last_modified FROM {t} "
        "WHERE number = 4"
    )
    job = verify(syncs)
    assert counts(job) == {"unchanged": 59, "failed": 2}, job


def test_spaces_order_of_names_and_the_job_make_no_difference(make_sync_world):
    syncs = make_sync_world(20)
    syncs.run()
    file = next(item["file"] for item in syncs.listed() if item["itemId"] == "MAINT-3")
    put(syncs, {**dict(reversed(file.items())), "metadata": {**file["metadata"], "job": "another"}})
    assert counts(verify(syncs)) == {"unchanged": 20}


def test_what_others_change_during_the_walk_is_looked_at_once_more(make_sync_world, monkeypatch):
    syncs = make_sync_world(60)
    syncs.run()
    spoil(syncs, gone=["MAINT-5"], other=["MAINT-7"], more=["ALIEN-1"])
    listed = Catalog.list

    def list_and_mend(self, *args, **kwargs):
        page = listed(self, *args, **kwargs)
        if page.items and "ALIEN-1" in syncs.held():
            syncs.client.delete(DATA_SOURCE, ["ALIEN-1"])
            for item_id in ("MAINT-5", "MAINT-7"):
                file = dict(dict(page.items).items())
                good = json.loads(file["MAINT-9"])
                row = syncs.rows()[item_id]
                data = {**good["data"], **{n: row[n] for n in ("item_id", "tail_number", "priority", "number")}}
                put(syncs, {**good, "itemId": item_id, "data": data})
        return page

    monkeypatch.setattr(Catalog, "list", list_and_mend)
    assert counts(verify(syncs)) == {"unchanged": 60}
