"""Single items into a destination."""

from __future__ import annotations

import pytest
from tests.support.access import AsTester

from blade_sandbox.catalog import CatalogServer
from blade_server.app.policies import direct_policy
from blade_server.catalog import Catalog
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.direct.ingest import Ingest, IngestOutcome
from blade_server.errors import NotFound, Precondition, Reason
from blade_server.model.destination import Destination


def test_an_item_goes_to_the_destination_that_is_named_up_to_its_ceiling(
    settings, sources, source, store, queries, recorder, catalog_server, tmp_path
):
    sources.add(source())
    with CatalogServer(directory=tmp_path / "lake") as lake:
        own = Catalog(settings.catalog_url)
        ceilings = {"lake": "UNCLASS", "strict": "COSMIC"}

        def find(name: str) -> Destination:
            if name not in ceilings:
                raise NotFound(f"there is no destination {name!r}", reason=Reason.DESTINATION_NOT_FOUND)
            return Destination(name=name, url=lake.url, ceiling=ceilings[name])

        catalogs = Catalogs(own, find=find, connect=lambda one: Catalog(one.url))
        ingest = AsTester(Ingest(direct_policy(settings), sources, catalogs, store, queries, recorder=recorder))
        asked = {"source": "blade-maintenance", "item_id": "MAINT-AF-001-2024"}
        with pytest.raises(Precondition, match="takes items up to COSMIC") as above:
            ingest.ingest(**asked, destination="strict")
        assert above.value.reason is Reason.CLASSIFICATION_ABOVE_CEILING
        assert lake.status()["uploads"] == 0
        with pytest.raises(NotFound):
            ingest.ingest(**asked, destination="none")
        assert ingest.ingest(**asked, destination="lake").outcome is IngestOutcome.CREATED
        assert (lake.status()["items"], catalog_server.status()["items"]) == (1, 0)
        assert ingest.ingest(**asked).outcome is IngestOutcome.CREATED
        assert catalog_server.status()["items"] == 1
        catalogs.close()
        own.close()
