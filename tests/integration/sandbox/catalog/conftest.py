"""A sandbox catalog, and uploads as an outsider would send them: by `requests`' own form encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

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

    def delete(self, item_id: str, data_source: str = "BLADE:m", **headers: str) -> requests.Response:
        """`headers` as names in Python: if_match, idempotency_key."""
        path = f"/v1/items/{quote(data_source, safe='')}/{quote(item_id, safe='')}"
        return self.session.delete(self.url + path, headers=_headers(headers), timeout=60)

    def delete_batch(self, items: object, **headers: str) -> requests.Response:
        """Items as ids of BLADE:m, or anything else as it is."""
        if isinstance(items, list):
            items = [{"dataSource": "BLADE:m", "itemId": one} if isinstance(one, str) else one for one in items]
        url, body = self.url + "/v1/items:batchDelete", {"items": items}
        return self.session.post(url, json=body, headers=_headers(headers), timeout=60)

    def statuses(self, items: list[Any]) -> list[int]:
        """Of a batch of deletes, a status an item."""
        return [result["status"] for result in self.delete_batch(items).json()["results"]]

    def pages(self, **query: Any) -> Iterator[list[dict[str, Any]]]:
        """The list of BLADE:m, page by page, each asked for when the one before it has been looked at."""
        query = {"dataSource": "BLADE:m"} | query
        while True:
            page = self.get("/v1/items", params=query).json()
            yield page["items"]
            if "next" not in page:
                return
            assert page["next"].encode() > query.get("after", "").encode()
            query["after"] = page["next"]

    def listed(self, **query: Any) -> list[str]:
        """All item ids of BLADE:m, in the order in which they come."""
        return [item["itemId"] for page in self.pages(**query) for item in page]

    def deleted(self, item_id: str) -> list[int]:
        """What became of the deletes of an item, in their order."""
        found = self.get("/sandbox/deletes", params={"itemId": item_id}).json()["deletes"]
        return [one["status"] for one in found]

    def set_faults(self, **faults: Any) -> requests.Response:
        return self.session.post(self.url + "/sandbox/faults", json=faults, timeout=60)

    def status(self) -> dict[str, Any]:
        return self.get("/sandbox/status").json()

    def count(self, data_source: str = "BLADE:m") -> dict[str, int]:
        return self.get("/v1/items:count", params={"dataSource": data_source}).json()


def _headers(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


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
