"""What a sync knows of its items: read here, written by `folds` alone.

The items stand in blocks, in the order of their keys, a column for each thing that is known of them (see
core/engine/sync/blocks.py); here they are bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, text

from blade_server.model.sync import SyncState
from blade_server.model.sync_block import SyncBlock
from blade_server.storage import tables
from blade_server.storage.database import Database

_sync, _block = tables.sync, tables.sync_block
_AT_ONCE = 256
"""Blocks in one answer: some megabytes."""

_OLD = text(
    """
    SELECT EXTRACT(epoch FROM now() - last_whole_time)::float8 AS whole_age_s,
           GREATEST(0, EXTRACT(epoch FROM unsettled_until - clock_timestamp()))::float8 AS unsettled_s
    FROM sync WHERE name = :sync
    """
)


class StateStore:
    """All methods are one transaction each, except the iterator; each raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, sync: str) -> SyncState | None:
        """What it knows beside its items; None: there is no such sync."""
        with self._database.read() as connection:
            row = connection.execute(select(_sync).where(_sync.c.name == sync)).one_or_none()
        return None if row is None else state_from(row)

    def ages(self, sync: str) -> tuple[float | None, float]:
        """Seconds since the last run over all rows ended (None: there was none), and until nothing is at work."""
        with self._database.read() as connection:
            row = connection.execute(_OLD, {"sync": sync}).one_or_none()
        return (None, 0.0) if row is None else (row.whole_age_s, row.unsettled_s or 0.0)

    def blocks(self, sync: str, *, with_ids: bool) -> Iterator[SyncBlock]:
        """All blocks in their order; without ids, those and the runs are empty."""
        after: bytes | None = None
        while True:
            with self._database.read() as connection:
                found = read_blocks(connection, sync, after=after, with_ids=with_ids)
            yield from found
            if len(found) < _AT_ONCE:
                return
            after = found[-1].low

    @contextmanager
    def at_one_moment(self, sync: str) -> Iterator[tuple[int, int, Iterator[SyncBlock]]]:
        """The generation, the number of items and all blocks without ids, whoever writes beside it."""
        with self._database.at_one_moment() as connection:
            generation = connection.execute(select(_sync.c.generation).where(_sync.c.name == sync)).scalar_one_or_none()
            size = connection.execute(_size(sync)).scalar_one()
            yield generation or 0, int(size), _blocks(connection, sync)

    def neighbours(self, sync: str) -> list[str]:
        """The other syncs whose items have its data type in its destination."""
        mine, other = _sync.alias("mine"), _sync.alias("other")
        same = (mine.c.destination == other.c.destination) & (mine.c.data_type == other.c.data_type)
        query = select(other.c.name).join(mine, same).where(mine.c.name == sync, other.c.name != sync)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(other.c.name)).scalars())

    def lows(self, sync: str) -> list[bytes]:
        """Where the blocks begin, in their order."""
        query = select(_block.c.low).where(_block.c.sync == sync).order_by(_block.c.low)
        with self._database.read() as connection:
            return [bytes(low) for low in connection.execute(query).scalars()]

    def blocks_at(self, sync: str, lows: Sequence[bytes], *, with_ids: bool = False) -> list[SyncBlock]:
        """The blocks that begin there, in their order."""
        with self._database.read() as connection:
            return read_blocks(connection, sync, lows=lows, with_ids=with_ids)

    def size(self, sync: str) -> int:
        """Items in all blocks."""
        with self._database.read() as connection:
            return int(connection.execute(_size(sync)).scalar_one())

    def marked(self, sync: str) -> Iterator[SyncBlock]:
        """The blocks that have items with marks, in their order."""
        query = select(_block).where(_block.c.sync == sync, _block.c.marked > 0).order_by(_block.c.low)
        with self._database.begin() as connection:
            for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
                yield block_from(row)


def _size(sync: str) -> Select[Any]:
    return select(func.coalesce(func.sum(_block.c.size), 0)).where(_block.c.sync == sync)


def _blocks(connection: Connection, sync: str) -> Iterator[SyncBlock]:
    after: bytes | None = None
    while found := read_blocks(connection, sync, after=after, with_ids=False):
        yield from found
        after = found[-1].low


def read_blocks(
    connection: Connection,
    sync: str,
    *,
    with_ids: bool,
    after: bytes | None = None,
    lows: Sequence[bytes] | None = None,
) -> list[SyncBlock]:
    """Blocks in their order: those that begin at `lows`, or else the next ones `after` one."""
    columns: list[Any] = [_block.c.low, _block.c["keys"], _block.c.contents, _block.c.marks]
    columns += [_block.c.runs, _block.c.item_ids] if with_ids else []
    query = select(*columns).where(_block.c.sync == sync).order_by(_block.c.low)
    if lows is not None:
        query = query.where(_block.c.low == func.any(text("CAST(:lows AS bytea[])")))
        return [block_from(row) for row in connection.execute(query, {"lows": list(lows)})]
    if after is not None:
        query = query.where(_block.c.low > after)
    return [block_from(row) for row in connection.execute(query.limit(_AT_ONCE))]


def block_from(row: Row[Any]) -> SyncBlock:
    """A row of `sync_block`."""
    values = row._mapping
    return SyncBlock(
        low=bytes(row.low),
        keys=bytes(values["keys"]),
        contents=bytes(row.contents),
        marks=bytes(row.marks),
        runs=bytes(values.get("runs", b"")),
        item_ids=bytes(values.get("item_ids", b"")),
    )


def state_from(row: Row[Any]) -> SyncState:
    """A row of `sync`."""
    return SyncState(
        generation=row.generation,
        run_number=row.run_number,
        watermark=row.watermark,
        watermark_type=row.watermark_type,
        feed_version=row.feed_version,
        table_id=row.table_id,
        key_hash=row.key_hash,
        last_whole_time=row.last_whole_time,
        known_items=row.known_items,
        dirty_items=row.dirty_items,
        doubtful=row.doubtful,
    )
