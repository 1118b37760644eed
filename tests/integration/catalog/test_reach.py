"""No catalog is at a link-local address, whatever its URL says and wherever its name leads."""

from __future__ import annotations

import pytest

from blade_server.catalog import Catalog
from blade_server.catalog.wire import pool
from blade_server.errors import Precondition


@pytest.mark.parametrize("url", ["http://169.254.169.254", "https://[fe80::1]/x", "http://[::ffff:169.254.169.254]:80"])
def test_a_url_that_names_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"BLADE_CATALOG_URL is .*link-local"):
        Catalog(url)


def test_the_address_that_was_reached_counts(sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(sandbox.url)
    monkeypatch.setattr(pool, "is_never", lambda address: address == "127.0.0.1")
    before = sandbox.status()["requests"]
    for call in (catalog.capabilities, catalog.probe, lambda: catalog.existing("BLADE:m", ["a"])):
        with pytest.raises(Precondition, match="link-local"):
            call()
    monkeypatch.undo()
    assert sandbox.status()["requests"] == before
    catalog.close()
