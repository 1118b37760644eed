"""One item on demand: looked up, fetched, transformed, uploaded, counted."""

from __future__ import annotations

import pytest

from blade_sandbox.catalog import CatalogServer
from blade_server.catalog import Catalog
from blade_server.core.direct.ingest import IngestOutcome
from blade_server.errors import (
    CatalogDenied,
    CatalogRejected,
    CatalogUnavailable,
    Invalid,
    NotFound,
    Precondition,
    Reason,
)

ID = "MAINT-AF-012-2024"


pytestmark = pytest.mark.usefixtures("stored")


def test_created_then_already_there_then_replaced(ingest, sources, catalog_server):
    created = ingest.ingest(data_type="maintenance", item_id=ID)
    assert created.outcome is IngestOutcome.CREATED
    assert created.item.item_id == ID
    assert created.bytes_uploaded > 0
    again = ingest.ingest(data_type="maintenance", item_id=ID)
    assert (again.outcome, again.item, again.bytes_uploaded) == (IngestOutcome.ALREADY_EXISTS, None, 0)
    replaced = ingest.ingest(data_type="maintenance", item_id=ID, replace=True)
    assert replaced.outcome is IngestOutcome.REPLACED
    stats = sources.get("blade-maintenance").stats
    assert stats.item_count == 2
    assert stats.last_success_time is not None


def test_the_callers_pairs_are_added(ingest):
    item = ingest.ingest(data_type="maintenance", item_id=ID, metadata={"base": "Nellis"}).item
    assert item.metadata["base"] == "Nellis"
    assert item.metadata["source"] == "databricks"


def test_what_cannot_be_ingested_uploads_nothing(ingest, catalog_server, sources):
    for item_id, reason in (
        ("nothing", Reason.ITEM_NOT_FOUND),
        ("twice", Reason.ITEM_AMBIGUOUS),
        ("b", Reason.ITEM_REJECTED),
    ):
        with pytest.raises((NotFound, Precondition)) as caught:
            ingest.ingest(data_type="odd", item_id=item_id)
        assert caught.value.reason is reason
    assert sources.get("odd").stats.item_count == 0


def test_wrong_requests_are_refused(ingest):
    with pytest.raises(Invalid, match="item_id"):
        ingest.ingest(data_type="odd", item_id="")
    with pytest.raises(Invalid, match="metadata"):
        ingest.ingest(data_type="odd", item_id="a", metadata={str(n): "x" for n in range(33)})


def test_a_catalog_that_fails_twice_is_asked_again(ingest, catalog_server):
    catalog_server.set_faults(status={"count": 2, "code": 503})
    assert ingest.ingest(data_type="maintenance", item_id=ID).outcome is IngestOutcome.CREATED


def test_a_dead_catalog_is_named(ingest, catalog_server):
    catalog_server.stop()
    with pytest.raises(CatalogUnavailable):
        ingest.ingest(data_type="maintenance", item_id=ID)


@pytest.fixture
def hoarder(tmp_path):
    """A catalog that keeps every copy and knows no idempotency keys."""
    with CatalogServer(directory=tmp_path / "hoarder", replace=False, idempotency_keys=0) as server:
        yield server


@pytest.fixture
def ingest_with(make_ingest):
    """`ingest_with(catalog)`: ingests the item into it."""

    def ingest(catalog):
        try:
            return make_ingest(catalog).ingest(item_id=ID, data_type="maintenance")
        finally:
            catalog.close()

    return ingest


@pytest.fixture
def ingest_there(ingest_with, hoarder):
    """`ingest_there(settle_s)`: ingests the item into the hoarder."""
    return lambda settle_s: ingest_with(Catalog(hoarder.url, settle_s=settle_s))


def test_an_item_whose_upload_may_be_at_work_is_not_sent_again(ingest_there, hoarder):
    hoarder.set_faults(reset_after_body={"count": 1})
    with pytest.raises(CatalogUnavailable, match="may yet be stored") as caught:
        ingest_there(60.0)
    assert 50 < caught.value.retry_after_s <= 60
    assert hoarder.status()["uploads"] == 1


def test_an_item_that_is_found_after_a_lost_reply_is_created(ingest_there, hoarder):
    hoarder.set_faults(drop_reply={"count": 1})
    assert ingest_there(60.0).outcome is IngestOutcome.CREATED
    assert (hoarder.status()["uploads"], hoarder.status()["copies"]) == (1, 1)


@pytest.mark.parametrize("code", [401, 409, 413])
def test_a_repeat_that_is_refused_says_nothing_of_an_upload_that_may_be_at_work(ingest_with, catalog_server, code):
    catalog_server.set_faults(status=[{"code": 504, "only": "single", "count": 1}, {"code": code, "only": "single"}])
    with pytest.raises(CatalogUnavailable, match=rf"\({code}\).*may yet be stored") as caught:
        ingest_with(Catalog(catalog_server.url, settle_s=60.0))
    assert 50 < caught.value.retry_after_s <= 60
    assert catalog_server.status()["injected"]["status"] == 2  # what was refused is not sent once more


def test_a_look_up_that_is_refused_says_nothing_of_an_upload_that_may_be_at_work(ingest_with, catalog_server):
    class Locked(Catalog):
        def stored(self, *_):
            raise CatalogDenied("the catalog refuses the credentials (401)")

    catalog_server.set_faults(status={"code": 504, "only": "single", "count": 1})
    with pytest.raises(CatalogUnavailable, match=r"\(401\).*may yet be stored"):
        ingest_with(Locked(catalog_server.url, settle_s=60.0))


@pytest.mark.parametrize(("code", "error"), [(401, CatalogDenied), (409, CatalogRejected)])
def test_a_repeat_that_is_refused_counts_once_no_upload_can_be_at_work(ingest_with, catalog_server, code, error):
    catalog_server.set_faults(status=[{"code": 500, "only": "single", "count": 1}, {"code": code, "only": "single"}])
    with pytest.raises(error, match=str(code)):
        ingest_with(Catalog(catalog_server.url, settle_s=60.0))


def test_an_item_that_arrived_before_its_repeat_was_refused_is_created(ingest_with, catalog_server):
    class Late(Catalog):
        uploads = 0

        def upload(self, encoded, **options):
            self.uploads += 1
            if self.uploads == 2:  # now the first one arrives
                super().upload(encoded)
                catalog_server.set_faults(status={"code": 409, "only": "single"})
            return super().upload(encoded, **options)

    catalog_server.set_faults(status={"code": 504, "only": "single", "count": 1})
    assert ingest_with(Late(catalog_server.url, settle_s=60.0)).outcome is IngestOutcome.CREATED
    assert catalog_server.status()["items"] == 1
