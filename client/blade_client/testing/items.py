"""QueryService and IngestService over rows in memory, and the catalog that they go into."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from hashlib import sha256
from typing import Any

from blade.v1 import ingest_service_pb2, query_service_pb2
from blade.v1.item_pb2 import Item, ItemRejection
from blade.v1.source_pb2 import ItemIdCount, Source
from blade_client import errors
from blade_client.testing.sources import Sources
from blade_client.testing.statuses import invalid

_CHUNK_ROWS = 100
_MAX_LIMIT = 1_000_000_000

Matches = Callable[[Mapping[str, Any], Mapping[str, str]], object]
"""What a condition means: whether a row matches, given the parameters."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a source: its columns, and the item it becomes or why it becomes none."""

    item_id: str
    columns: Mapping[str, Any]
    item: Item
    rejection: ItemRejection | None = None


class Items:
    """Rows by source, and what is in the catalog by data type.

    `refused` says which items the catalog does not take, and why: reason and message.
    """

    def __init__(self, sources: Sources) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.catalog: dict[str, dict[str, Item]] = {}
        self.refused: dict[str, tuple[str, str]] = {}
        self.conditions: dict[str, Matches] = {}
        self._sources = sources
        sources.count_ids = lambda name: counted(self.rows.get(name, []))

    def add(self, source: Source, item_id: str, columns: Mapping[str, Any], classification: str) -> Row:
        """A row that becomes an item."""
        item = Item(
            item_id=item_id,
            data_type=source.data_type,
            classification=classification,
            metadata={**source.mapping.metadata, "source": source.name},
        )
        item.data.update({name: _json_value(value) for name, value in columns.items()})
        row = Row(item_id=item_id, columns=dict(columns), item=item)
        self.rows.setdefault(source.name, []).append(row)
        return row

    def reject(self, source: Source, columns: Mapping[str, Any], rejection: ItemRejection) -> None:
        """A row that becomes none."""
        row = Row(item_id=rejection.item_id, columns=dict(columns), item=Item(), rejection=rejection)
        self.rows.setdefault(source.name, []).append(row)

    def selected(self, source: Source, condition: str, parameters: Mapping[str, str], *, field: str) -> list[Row]:
        """The rows that match; all without a condition. Raises Invalid if nobody said what it means."""
        rows = self.rows.get(source.name, [])
        if not condition:
            return list(rows)
        matches = self.conditions.get(normal(condition))
        if matches is None:
            raise invalid(
                field, f"FakeBlade runs no SQL: say fake.means({condition!r}, ...) in the test", reason="INVALID_SQL"
            )
        return [row for row in rows if matches(row.columns, parameters)]

    def renamed(self, rows: Sequence[Row], template: str) -> list[Row]:
        """The rows with item ids by a template of a job's own; as they are without one. Raises Precondition.

        `{row:hash}` stands for 16 hex digits that differ where rows do; the service makes others of a row.
        """
        return [_renamed(row, template) for row in rows] if template else list(rows)

    def count(self, source_name: str, items: int) -> None:
        """So many items of a source have reached the catalog."""
        source = self._sources.stored.get(source_name)
        if source is not None and items:
            source.stats.item_count += items
            source.stats.last_success_time.GetCurrentTime()

    def QueryItems(
        self, request: query_service_pb2.QueryItemsRequest, context: Any
    ) -> Iterator[query_service_pb2.QueryItemsResponse]:
        rows, more = self._asked(request, default=100)
        for begin in range(0, len(rows), _CHUNK_ROWS):
            chunk = query_service_pb2.QueryItemsResponse()
            for row in rows[begin : begin + _CHUNK_ROWS]:
                if row.rejection is not None:
                    chunk.rejections.append(row.rejection)
                else:
                    chunk.items.append(_with_columns(row.item, request.columns))
            yield chunk
        if more:
            yield query_service_pb2.QueryItemsResponse(more_rows=True)

    def QueryArrow(
        self, request: query_service_pb2.QueryArrowRequest, context: Any
    ) -> Iterator[query_service_pb2.QueryArrowResponse]:
        import pyarrow as pa

        rows, _ = self._asked(request, default=None)
        table = pa.Table.from_pylist([dict(row.columns) for row in rows])
        table = table.select(list(request.columns)) if request.columns else table
        yield query_service_pb2.QueryArrowResponse(schema=table.schema.serialize().to_pybytes())
        for batch in table.to_batches():
            yield query_service_pb2.QueryArrowResponse(record_batch=batch.serialize().to_pybytes())
        yield query_service_pb2.QueryArrowResponse(trailer=query_service_pb2.ArrowTrailer(row_count=len(rows)))

    def GetItem(self, request: query_service_pb2.GetItemRequest, context: Any) -> query_service_pb2.GetItemResponse:
        source = self._sources.find(request.data_type, request.source)
        return query_service_pb2.GetItemResponse(item=self._one(source, request.item_id))

    def IngestItem(
        self, request: ingest_service_pb2.IngestItemRequest, context: Any
    ) -> ingest_service_pb2.IngestItemResponse:
        response = ingest_service_pb2.IngestItemResponse
        source = self._sources.find(request.data_type, request.source)
        if not request.item_id:
            raise invalid("item_id", "is required")
        there = request.item_id in self.catalog.get(source.data_type, {})
        if there and not request.replace:
            return response(outcome=response.ALREADY_EXISTS)
        item = Item()
        item.CopyFrom(self._one(source, request.item_id))
        item.metadata.update(request.metadata)
        if item.item_id in self.refused:
            reason, message = self.refused[item.item_id]
            raise errors.Precondition(message, reason=reason)
        self.catalog.setdefault(source.data_type, {})[item.item_id] = item
        self.count(source.name, 1)
        outcome = response.REPLACED if there else response.CREATED
        return response(outcome=outcome, item=item, bytes_uploaded=item.ByteSize())

    def _one(self, source: Source, item_id: str) -> Item:
        if not item_id:
            raise invalid("item_id", "is required")
        found = [row for row in self.rows.get(source.name, []) if row.item_id == item_id]
        if not found:
            raise errors.NotFound(
                f"no row of source {source.name!r} has the item id {item_id!r}", reason="ITEM_NOT_FOUND"
            )
        if len(found) > 1:
            raise errors.Precondition(f"more than one row has the item id {item_id!r}", reason="ITEM_AMBIGUOUS")
        if found[0].rejection is not None:
            raise errors.Precondition(found[0].rejection.message, reason="ITEM_REJECTED")
        return found[0].item

    def _asked(self, request: Any, *, default: int | None) -> tuple[list[Row], bool]:
        """The rows, and whether the limit leaves others out."""
        limit = request.limit if request.HasField("limit") else default
        if limit is not None and not 1 <= limit <= _MAX_LIMIT:
            raise invalid("limit", f"{limit} is not between 1 and {_MAX_LIMIT:,}")
        if request.offset < 0:
            raise invalid("offset", f"{request.offset} is below 0")
        source = self._sources.find(request.data_type, request.source)
        rows = self.selected(source, request.filter, dict(request.parameters), field="filter")
        for term in reversed(request.order_by):
            column, _, direction = term.partition(" ")
            rows.sort(key=_order(column), reverse=direction.strip().lower() == "desc")
        rows = rows[request.offset :]
        return rows[:limit], limit is not None and len(rows) > limit


def normal(condition: str) -> str:
    """A condition without what makes no difference: the blanks in it."""
    return re.sub(r"\s+", " ", condition).strip()


def json_of(columns: Mapping[str, Any]) -> str:
    """A row as it stands with its error."""
    return json.dumps({name: _json_value(value) for name, value in columns.items()})


def counted(rows: Sequence[Row]) -> ItemIdCount:
    """How well the item ids tell these rows apart."""
    ids = [row.item_id for row in rows if row.item_id]
    duplicates, missing = len(ids) - len(set(ids)), len(rows) - len(ids)
    message = f"{duplicates:,} of {len(rows):,} rows share their id with another, {missing:,} have none"
    return ItemIdCount(row_count=len(rows), missing_count=missing, duplicate_count=duplicates, message=message)


def _renamed(row: Row, template: str) -> Row:
    whole = template if "{" in template else f"{{{template}}}"
    digest = sha256(json_of(row.columns).encode()).hexdigest()[:16]
    try:
        item_id = whole.replace("{row:hash}", digest).format_map(row.columns)
    except KeyError as missing:
        raise errors.Precondition(
            f"column {missing}, which item_id names, is not among the {len(row.columns)} columns of the result",
            reason="MISSING_COLUMN",
        ) from missing
    item = Item()
    item.CopyFrom(row.item)
    item.item_id = item_id
    return replace(row, item_id=item_id, item=item)


def _order(column: str) -> Callable[[Row], Any]:
    def key(row: Row) -> Any:
        value = row.columns.get(column)
        return (value is not None, value)

    return key


def _with_columns(item: Item, columns: Any) -> Item:
    if not columns:
        return item
    chosen = Item()
    chosen.CopyFrom(item)
    for name in set(item.data) - set(columns):
        del chosen.data[name]
    return chosen


def _json_value(value: Any) -> Any:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return value if value is None or isinstance(value, (bool, int, float, str, list, dict)) else str(value)
