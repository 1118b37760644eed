"""Direct queries: rows of a source straight from the warehouse, as items or as Arrow, at the reader's pace.

This decides what is asked of the warehouse; `streams` is what the reader holds.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from blade_server.core import sql
from blade_server.core.audit.recorder import Recorder
from blade_server.core.direct.streams import ArrowStream, ItemStream, OpenQuery, Slot
from blade_server.core.sources.credentials import target
from blade_server.core.sources.sources import Sources
from blade_server.core.transform.columns import find_column
from blade_server.core.transform.item_ids import Template
from blade_server.core.transform.provenance import item_metadata
from blade_server.core.transform.transform import MAX_ITEM_ID_CHARACTERS, Transform, Transformed
from blade_server.errors import Invalid, NotFound, Precondition, Reason, WarehouseRefused
from blade_server.model import Item, RowQuery, Source
from blade_server.model.access import Caller, View
from blade_server.model.policy import DirectPolicy
from blade_server.warehouse import MAX_BATCH_ROWS, Result, Target, Warehouse

DEFAULT_ITEMS = 100
MAX_ROWS_LIMIT = 1_000_000_000
MAX_COLUMNS = 10_000
ITEM_BATCH_ROWS = 1_000
SCHEMA_TTL_S = 60.0


class _Of(NamedTuple):
    """A source, and what of it is there for the caller."""

    source: Source
    view: View


class Queries:
    """Opens queries, at most `policy.max_queries` at once. Thread-safe."""

    def __init__(self, policy: DirectPolicy, sources: Sources, recorder: Recorder) -> None:
        self._policy = policy
        self._sources = sources
        self._recorder = recorder
        self._slots = threading.BoundedSemaphore(policy.max_queries)
        self._schemas: dict[tuple[str, str, View], tuple[float, pa.Schema]] = {}

    def items(self, query: RowQuery, *, by: Caller) -> ItemStream:
        """Rows as items and rejections, batch by batch; `limit` None is 100. Close the stream.

        Raises:
            Invalid, NotFound, Precondition: the request or its source.
            QuotaExceeded: too many queries at once.
        """
        limit = DEFAULT_ITEMS if query.limit is None else query.limit
        _check_range("limit", limit, 1, MAX_ROWS_LIMIT)
        found = self._sources.find(query.data_type, query.source, by=by)
        self._recorder.read(by, f"source:{found.name}")
        # One row more shows whether there are more.
        wanted = replace(query, columns=_with_mapping(query.columns, found), limit=limit + 1)
        whole_rows = Template.parse(found.mapping.item_id).row_hash
        opened = self._open(
            _Of(found, self._sources.view(found, by=by)), wanted, ITEM_BATCH_ROWS, whole_rows=whole_rows
        )
        return ItemStream(opened, found, self._policy.source.classifications, limit=limit)

    def arrow(self, query: RowQuery, *, by: Caller) -> ArrowStream:
        """Rows as Arrow record batches; `limit` None is all rows. Close the stream. Raises as `items`."""
        if query.limit is not None:
            _check_range("limit", query.limit, 1, MAX_ROWS_LIMIT)
        found = self._sources.find(query.data_type, query.source, by=by)
        self._recorder.read(by, f"source:{found.name}")
        return ArrowStream(self._open(_Of(found, self._sources.view(found, by=by)), query, MAX_BATCH_ROWS), found)

    def item(self, *, by: Caller, data_type: str = "", source: str = "", item_id: str) -> Item:
        """The one row with an item id, as an item.

        Raises:
            NotFound: no row has the id.
            Precondition: two rows have it, the row cannot become an item, or the mapping does not fit the table.
            Invalid, QuotaExceeded, Warehouse...: as for streams.
        """
        _check_item_id(item_id)
        found = self._sources.find(data_type, source, by=by)
        self._recorder.read(by, f"source:{found.name}")
        return self.item_of(found, self._sources.view(found, by=by), item_id, {})

    def item_of(self, source: Source, view: View, item_id: str, metadata: Mapping[str, str]) -> Item:
        """As `item`, of what is there of a source for the caller; whoever calls this tells the audit log.

        `metadata` is added to the item's own.
        """
        _check_item_id(item_id)
        where = target(self._policy.source.warehouse, source.config)
        with Slot(self._slots), Warehouse(where, source.name) as warehouse:
            transformed, rows = self._look_up(warehouse, _Of(source, view), where, item_id, metadata)
        return _the_one(transformed, rows, source, item_id)

    def _look_up(
        self, warehouse: Warehouse, of: _Of, where: Target, item_id: str, metadata: Mapping[str, str]
    ) -> tuple[Transformed, int]:
        result = self._run_look_up(warehouse, of, item_id)
        source = of.source
        transform = Transform(
            source,
            result.schema,
            known_classifications=self._policy.source.classifications,
            metadata=item_metadata(source, where.warehouse_id, metadata),
        )
        transformed = transform.all(result)
        return transformed, len(transformed.items) + len(transformed.rejected)

    def _run_look_up(self, warehouse: Warehouse, of: _Of, item_id: str) -> Result:
        # With a new column rows have another hash, and no statement fails that leaves it out.
        hashed = Template.parse(of.source.mapping.item_id).row_hash
        for fresh in (True,) if hashed else (False, True):
            schema, remembered = self._schema(warehouse, of, fresh=fresh)
            try:
                return warehouse.execute(
                    sql.look_up(of.source, schema, view=of.view),
                    {"item_id": item_id},
                    timeout_s=self._policy.query_timeout_s,
                )
            except (WarehouseRefused, Precondition):
                # The table may have changed since its columns were looked at.
                if not remembered:
                    raise
        raise AssertionError("unreachable")

    def _schema(self, warehouse: Warehouse, of: _Of, *, fresh: bool = False) -> tuple[pa.Schema, bool]:
        """The columns that are there of a source, and whether they are remembered ones (up to a minute old)."""
        key = (of.source.name, of.source.etag, of.view)
        until, schema = self._schemas.get(key, (0.0, None))
        if not fresh and schema is not None and time.monotonic() < until:
            return schema, True
        result = warehouse.execute(sql.all_rows(of.source, 0, view=of.view), timeout_s=self._policy.query_timeout_s)
        result.close()
        now = time.monotonic()
        self._schemas = {kept: entry for kept, entry in self._schemas.items() if entry[0] > now}
        self._schemas[key] = (now + SCHEMA_TTL_S, result.schema)
        return result.schema, False

    def _open(self, of: _Of, query: RowQuery, batch_rows: int, *, whole_rows: bool = False) -> OpenQuery:
        _check(query)
        sql.select(of.source, query, view=of.view)  # what is wrong with the request is said before anything is opened
        where = target(self._policy.source.warehouse, of.source.config)
        slot = Slot(self._slots).take()
        return OpenQuery(
            Warehouse(where, of.source.name),
            slot,
            lambda warehouse: self._run(warehouse, of, query, batch_rows, whole_rows),
        )

    def _run(self, warehouse: Warehouse, of: _Of, query: RowQuery, batch_rows: int, whole_rows: bool) -> Result:
        """The statement over checked columns: an unknown one is the caller's mistake and is said as such.

        `whole_rows` reads all columns, whichever are asked for.
        """
        source, view = of
        if not (query.columns or query.order_by or query.filter):
            statement = sql.select(source, query, view=view)
        else:
            schema, remembered = self._schema(warehouse, of)
            try:
                statement = sql.select(source, query, schema, view=view)
            except Invalid:
                if not remembered:
                    raise
                schema, _ = self._schema(warehouse, of, fresh=True)
                statement = sql.select(source, query, schema, view=view)
            if whole_rows and query.columns:
                statement = sql.select(source, replace(query, columns=()), schema, view=view)
        return warehouse.execute(
            statement,
            query.parameters,
            max_batch_rows=batch_rows,
            timeout_s=self._policy.query_timeout_s,
        )


def _check(query: RowQuery) -> None:
    _check_range("offset", query.offset, 0, 2**31 - 1)
    for field, names in (("columns", query.columns), ("order_by", query.order_by)):
        if len(names) > MAX_COLUMNS:
            raise Invalid.field(field, f"has {len(names):,} entries; at most {MAX_COLUMNS:,} are allowed")
        if any(not name.strip() or len(name) > 1000 for name in names):
            raise Invalid.field(field, "has an entry that is blank or longer than 1000 characters; name columns")
    for name, count in Counter(name.lower() for name in query.columns).items():
        if count > 1:
            raise Invalid.field("columns", f"{name!r} is there more than once; names have no case")


def _check_item_id(item_id: str) -> None:
    if not item_id or len(item_id) > MAX_ITEM_ID_CHARACTERS:
        raise Invalid.field("item_id", f"is required, and at most {MAX_ITEM_ID_CHARACTERS} characters long")


def _check_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Invalid.field(field, f"{value} is not between {least} and {most:,}")


def _with_mapping(columns: Sequence[str], source: Source) -> Sequence[str]:
    """The columns asked for and those that make an item of the row; none stands for all."""
    if not columns:
        return ()
    mapping = source.mapping
    needed = (*Template.parse(mapping.item_id).columns, mapping.last_modified, mapping.classification.column)
    wanted = list(columns)
    for column in needed:
        if column and find_column(wanted, column) is None:
            wanted.append(column)
    return wanted


def _the_one(found: Transformed, rows: int, source: Source, item_id: str) -> Item:
    if rows > 1:
        raise Precondition(
            f"more than one row of source {source.name!r} has the item id {item_id!r}; a template over more columns "
            "tells them apart",
            reason=Reason.ITEM_AMBIGUOUS,
        )
    if found.rejected:
        error = found.rejected[0].error
        raise Precondition(
            f"the row of {item_id!r} cannot become an item: {error.message}",
            reason=Reason.ITEM_REJECTED,
            metadata={"field": error.field, "cause": error.reason.value},
        )
    # A collation can make the warehouse find another spelling; the catalog's ids are exact.
    if not found.items or found.items[0].item_id != item_id:
        raise NotFound(f"no row of source {source.name!r} has the item id {item_id!r}", reason=Reason.ITEM_NOT_FOUND)
    return found.items[0]
