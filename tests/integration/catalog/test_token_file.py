"""A token in a file that is another one later."""

from __future__ import annotations

from pathlib import Path

import pytest

from blade_sandbox.catalog import CatalogServer
from blade_server.catalog import Catalog
from blade_server.errors import CatalogDenied
from blade_server.settings import SecretFile


def test_a_client_shows_the_token_that_was_read_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    token = SecretFile(file, "BLADE_CATALOG_TOKEN_FILE")
    with CatalogServer(directory=tmp_path / "catalog", token="second") as server:
        catalog = Catalog(server.url, token)
        with pytest.raises(CatalogDenied):
            catalog.probe()
        assert not token.read_again()
        file.write_text("second")
        with pytest.raises(CatalogDenied):
            catalog.probe()
        assert token.read_again()
        catalog.probe()

        for wrong in ("", "x" * 70_000):
            file.write_text(wrong)
            with pytest.raises(ValueError, match="BLADE_CATALOG_TOKEN_FILE is"):
                token.read_again()
        catalog.probe()
        file.write_text("thïrd")
        assert token.read_again()
        catalog.probe()
        assert "BLADE_CATALOG_TOKEN has characters that cannot stand in an HTTP header; the one before" in caplog.text
        assert "thïrd" not in f"{caplog.text}{token!r}{token}"
        catalog.close()
