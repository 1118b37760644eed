"""A sandbox catalog, and uploads as an outsider would send them: by `requests`' own form encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from blade_sandbox.catalog import CatalogServer


class Caller:
    """A plain HTTP client of one catalog."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(self.url + path, timeout=60, **options)

    def fields(self, item_id: str, data_source: str = "BLADE:m", **parts: Any) -> list[tuple[str, Any]]:
        file = json.dumps({"itemId": item_id, "dataType": "m", "data": {"n": 1}})
        given = {
            "file": ("blade_item.json", file, "application/json"),
            "dataSource": (None, data_source),
            "classification": (None, "UNCLASS"),
            "metadata": (None, '{"job": "j1"}'),
            "timestamp": (None, "2024-01-10T10:00:00Z"),
        } | {name: part if isinstance(part, tuple | None) else (None, part) for name, part in parts.items()}
        return [(name, part) for name, part in given.items() if part is not None]

    def upload(self, item_id: str, *, headers: dict[str, str] | None = None, **parts: Any) -> requests.Response:
        form = self.fields(item_id, **parts)
        return self.session.post(self.url + "/v1/items", files=form, headers=headers, timeout=60)

    def upload_batch(
        self, item_ids: Sequence[str], *, headers: dict[str, str] | None = None, **parts: Any
    ) -> requests.Response:
        form = [field for item_id in item_ids for field in self.fields(item_id, **parts)]
        return self.session.post(self.url + "/v1/items:batch", files=form, headers=headers, timeout=60)

    def set_faults(self, **faults: Any) -> requests.Response:
        return self.session.post(self.url + "/sandbox/faults", json=faults, timeout=60)

    def status(self) -> dict[str, Any]:
        return self.get("/sandbox/status").json()

    def count(self, data_source: str = "BLADE:m") -> dict[str, int]:
        return self.get("/v1/items:count", params={"dataSource": data_source}).json()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Caller]]:
    """Starts catalogs, all on one directory unless told otherwise; they are stopped with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> Caller:
            server = stack.enter_context(CatalogServer(**{"directory": tmp_path / "catalog"} | options))
            caller = Caller(server.url)
            stack.callback(caller.session.close)
            return caller

        yield start


@pytest.fixture
def catalog(start: Callable[..., Caller]) -> Caller:
    return start()
