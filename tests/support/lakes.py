"""Catalogs beside the server's own, in tests of the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from tests.support.access import called
from tests.support.engine import EngineWorld

from blade_sandbox.catalog import CatalogServer
from blade_server.model.destination import Destination
from blade_server.storage.destinations import DestinationStore


class Lakes:
    """Catalogs beside the server's own, and the destinations that lead there."""

    def __init__(self, world: EngineWorld, folder: Path, stack: ExitStack) -> None:
        self._world = world
        self._folder = folder
        self._stack = stack
        self.store = DestinationStore(world.database)

    def add(self, name: str, port: int = 0, *, options: dict[str, Any] | None = None, **fields: Any) -> CatalogServer:
        """Starts a catalog and stores the destination; runners that are made after it may send there."""
        catalog = self.start(name, port, **(options or {}))
        catalog_id = requests.get(f"{catalog.url}/v1/capabilities", timeout=60).json()["catalogId"]
        self.store.add(Destination(name=name, url=catalog.url, catalog_id=catalog_id, **fields), by=called())
        hosts = tuple(urlsplit(one.url).netloc for one in self.store.page("", 100))
        self._world.settings = self._world.configured(allowed_catalog_hosts=hosts, catalog_timeout_s=2.0)
        return catalog

    def start(self, folder: str, port: int = 0, **options: Any) -> CatalogServer:
        return self._stack.enter_context(CatalogServer(directory=self._folder / folder, port=port, **options))


@pytest.fixture
def make_lakes(tmp_path: Path) -> Iterator[Callable[[EngineWorld], Lakes]]:
    with ExitStack() as stack:
        yield lambda world: Lakes(world, tmp_path, stack)
