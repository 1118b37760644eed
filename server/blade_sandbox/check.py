"""Checks that everything that is in the warehouse is in the catalog, once, and the same.

Knows nothing of BLADE's own code: it reads the warehouse with the plain driver and the catalog through its listing, and
compares what each row should have become, value by value. Both are read in the order of the item ids, so a million
items need no memory.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import orjson
import requests
from databricks import sql

from blade_sandbox.sandbox import HTTP_PATH, TOKEN, Sandbox

Row = Mapping[str, Any]
T = TypeVar("T")
_FETCH_ROWS = 20_000
_PAGE_ITEMS = 5_000
_SAMPLES = 5


@dataclass(kw_only=True)
class Findings:
    """How many items are wrong, and the ids of the first few of each kind."""

    rows: int = 0
    items: int = 0
    missing: int = 0
    doubled: int = 0
    different: int = 0
    unknown: int = 0
    samples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """True if nothing is missing, doubled, different or unknown to the warehouse."""
        return not (self.missing or self.doubled or self.different or self.unknown)

    def found(self, kind: str, item_id: str) -> None:
        """Counts one wrong item."""
        setattr(self, kind, getattr(self, kind) + 1)
        samples = self.samples.setdefault(kind, [])
        if len(samples) < _SAMPLES:
            samples.append(item_id)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What items of a source must look like; the columns of the default mapping unless said otherwise."""

    data_type: str
    item_id: Callable[[Row], str] = lambda row: str(row["item_id"])
    classification: Callable[[Row], str] = lambda row: str(row["classification"])
    last_modified: Callable[[Row], datetime | None] = lambda row: row["last_modified"]


def check(sandbox: Sandbox, statement: str, expected: Expected) -> Findings:
    """Compares a statement's rows, in the order of their item ids, with all items of the data type in the catalog."""
    with (
        closing(warehouse_rows(sandbox.warehouse_url, HTTP_PATH, TOKEN, statement)) as rows,
        closing(catalog_items(sandbox.catalog_url, TOKEN, f"BLADE:{expected.data_type}")) as items,
    ):
        return compare(rows, items, expected)


def connect(url: str, http_path: str, token: str) -> sql.client.Connection:
    """A connection of the plain driver; the caller closes it."""
    return sql.connect(
        server_hostname=url,
        http_path=http_path,
        access_token=token,
        _connection_uri=url + http_path,
        enable_telemetry=False,
    )


def warehouse_rows(url: str, http_path: str, token: str, statement: str) -> Generator[dict[str, Any], None, None]:
    """The rows of a statement, one by one."""
    with closing(connect(url, http_path, token)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(statement)
        while (batch := cursor.fetchmany_arrow(_FETCH_ROWS)).num_rows:
            yield from batch.to_pylist()


def catalog_items(url: str, token: str, data_source: str) -> Generator[dict[str, Any], None, None]:
    """All items of a data source with their files, in the order of their ids."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        query = {"dataSource": data_source, "include": "file", "limit": str(_PAGE_ITEMS)}
        while True:
            answer = session.get(f"{url}/v1/items", params=query, timeout=60)
            answer.raise_for_status()
            page = orjson.loads(answer.content)
            yield from page["items"]
            if "next" not in page:
                return
            query["after"] = page["next"]


def compare(rows: Iterable[Row], items: Iterable[Mapping[str, Any]], expected: Expected) -> Findings:
    """Merges rows and items, both in the order of the item ids, each id once among the rows.

    Raises:
        ValueError: one of the two is not in order, so that nothing could be said.
    """
    findings = Findings()
    listed = _in_order((str(item["itemId"]), item) for item in items)
    wanted = _in_order((expected.item_id(row), row) for row in rows)
    item_id, item = next(listed, (None, None))
    for row_id, row in wanted:
        findings.rows += 1
        while item_id is not None and item is not None and item_id < row_id:
            findings.items += 1
            findings.found("unknown", item_id)
            item_id, item = next(listed, (None, None))
        if item_id != row_id or item is None:
            findings.found("missing", row_id)
            continue
        findings.items += 1
        if item["copies"] != 1:
            findings.found("doubled", row_id)
        if not _is(row, row_id, item, expected):
            findings.found("different", row_id)
        item_id, item = next(listed, (None, None))
    while item_id is not None:
        findings.items += 1
        findings.found("unknown", item_id)
        item_id, item = next(listed, (None, None))
    return findings


def _in_order(pairs: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    before: str | None = None
    for key, value in pairs:
        if before is not None and key <= before:
            raise ValueError(f"{key!r} comes after {before!r}: the ids are not unique and in order")
        before = key
        yield key, value


def _is(row: Row, row_id: str, item: Mapping[str, Any], expected: Expected) -> bool:
    file = item["file"]
    return (
        file["itemId"] == row_id
        and file["dataType"] == expected.data_type
        and file["classification"] == item["classification"] == expected.classification(row)
        and same(expected.last_modified(row), file["lastModified"])
        and file["data"].keys() == row.keys()
        and _same_values(row, file["data"])
    )


def same(value: Any, shown: Any) -> bool:
    """True if `shown`, from JSON, is what `value`, from the warehouse, must be written as."""
    match value:
        case None | bool():
            return shown is value
        case str() | int():
            return type(shown) is not bool and bool(shown == value)
        case float():
            return shown is None if math.isnan(value) or math.isinf(value) else shown == value
        case datetime():
            return isinstance(shown, str) and _moment(shown, like=value) == value
        case date():
            return bool(shown == value.isoformat())
        case Decimal():
            return isinstance(shown, str | int | float) and Decimal(str(shown)) == value
        case bytes():
            return isinstance(shown, str) and base64.b64decode(shown) == value
        case Mapping():
            return isinstance(shown, dict) and shown.keys() == value.keys() and _same_values(value, shown)
        case list() | tuple():
            return isinstance(shown, list) and len(shown) == len(value) and all(map(same, value, shown))
    raise TypeError(f"no rule for a {type(value).__name__}")


def _same_values(row: Row, shown: dict[str, Any]) -> bool:
    for name, value in row.items():
        other = shown[name]
        # Most values are the same object or equal in the same type; asking that first halves the time of a check.
        if value is other or (type(value) is type(other) and value == other):
            continue
        if not same(value, other):
            return False
    return True


def _moment(shown: str, *, like: datetime) -> datetime:
    moment = datetime.fromisoformat(shown)
    return moment if like.tzinfo else moment.replace(tzinfo=None)
