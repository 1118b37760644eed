"""A sync into a destination: its ceiling, and another catalog under its URL."""

from __future__ import annotations

from dataclasses import replace

import pytest
import requests
from tests.support.access import called
from tests.support.engine import maintenance_rows
from tests.support.syncs import NAME, SyncWorld, counts

from blade_server.errors import NotFound, Precondition, Reason
from blade_server.model import Status
from blade_server.model.sync_report import Withheld


@pytest.fixture
def make_syncs(make_world, make_lakes):
    """A world of syncs with a destination `lake`, which has these fields, and no sync yet; the catalog, the lakes."""
    clients = []

    def make(rows, **fields):
        world = make_world(rows)
        lakes = make_lakes(world)
        lake = lakes.add("lake", **fields)
        world.runner()
        syncs = SyncWorld(world)
        clients.append(syncs.client)
        return syncs, lake, lakes

    yield make
    for client in clients:
        client.close()


def ids(catalog) -> list[str]:
    query = {"dataSource": "BLADE:maintenance"}
    items = requests.get(f"{catalog.url}/v1/items", params=query, timeout=60).json()["items"]
    return [item["itemId"] for item in items]


def test_a_sync_goes_to_its_destination_and_deletes_there(make_syncs):
    syncs, lake, _ = make_syncs(40)
    syncs.create(destination="lake")
    assert counts(syncs.run()) == {"created": 40}
    syncs.sql("DELETE FROM {t} WHERE number = 7")
    assert counts(syncs.run())["deleted"] == 1
    assert len(ids(lake)) == 39
    assert syncs.held() == {}


def test_what_is_above_the_ceiling_is_skipped_and_counted_and_holds_deletes_back(make_syncs):
    rows = maintenance_rows(30)
    rows["classification"] = ["UNCLASS", "UNCLASS", "SECRET"] * 10
    syncs, lake, _ = make_syncs(rows, ceiling="CUI")
    syncs.create(destination="lake")
    first = syncs.run()
    assert (first.status, first.success_count, first.skipped_count, first.error_count) == (Status.COMPLETED, 20, 10, 0)
    assert first.report.above_ceiling_count == 10
    assert len(ids(lake)) == 20
    syncs.sql("DELETE FROM {t} WHERE number = 0")
    second = syncs.run()
    assert second.report.withheld_reason is Withheld.NOT_ALL_ROWS
    assert "10 rows are above the ceiling" in second.report.withheld_detail
    assert len(ids(lake)) == 20
    syncs.sql("DELETE FROM {t} WHERE classification = 'SECRET'")
    third = syncs.run()
    assert (third.report.above_ceiling_count, third.report.counts.deleted) == (0, 1)
    assert len(ids(lake)) == 19


def test_what_a_sync_knows_is_of_one_catalog(make_syncs):
    syncs, lake, lakes = make_syncs(20)
    other = lakes.add("other")
    syncs.create(destination="lake")
    syncs.run()
    stored, elsewhere = lakes.store.get("lake"), lakes.store.get("other")
    moved = replace(stored, url=elsewhere.url, catalog_id=elsewhere.catalog_id)
    lakes.store.update(moved, "", by=called())
    syncs.world.runner(syncs.world.configured(allowed_catalog_hosts=syncs.world.settings.allowed_catalog_hosts))
    syncs.world.runners[0].stop(5)
    swapped = syncs.run()
    assert (swapped.status, swapped.error_reason) == (Status.FAILED, Reason.DESTINATION_CHANGED)
    assert ids(other) == []
    syncs.syncs.reset(NAME, [], by=called(), reason="it is another catalog")
    assert counts(syncs.run()) == {"created": 20}
    assert (len(ids(lake)), len(ids(other))) == (20, 20)


def test_a_destination_is_in_use_while_a_sync_names_it(make_syncs):
    syncs, _, lakes = make_syncs(5)
    with pytest.raises(NotFound) as absent:
        syncs.create(destination="none")
    assert absent.value.reason is Reason.DESTINATION_NOT_FOUND
    syncs.create(destination="lake")
    with pytest.raises(Precondition, match=f"syncs {NAME}") as caught:
        lakes.store.remove("lake", by=called())
    assert caught.value.reason is Reason.DESTINATION_IN_USE
