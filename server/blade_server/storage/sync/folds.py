"""How the ledgers of final jobs go into what their sync knows: slice by slice, each a transaction.

Each slice locks the row of the sync and goes on only while the job is not folded. So nobody who came late writes what
an older run says over what a newer one did; and what was folded twice is the same as if it was folded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text, update

from blade_server.model import Block
from blade_server.model.sync_block import SyncBlock
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.sync.state import block_from, read_blocks

_job, _sync, _ledger, _block = tables.job, tables.sync, tables.job_block, tables.sync_block
_AT_ONCE = 1000
"""Blocks of a ledger in one answer."""

_UNFOLDED = text(
    """
    SELECT job.job_id, (job.task ->> 'run_number')::int AS run_number FROM job JOIN sync ON sync.name = job.sync
    WHERE job.sync = :sync AND NOT job.folded AND job.end_time IS NOT NULL AND job.create_time >= sync.create_time
    ORDER BY job.job_id
    """
)

_PUT = text(
    """
    INSERT INTO sync_block (sync, low, size, marked, keys, contents, runs, marks, item_ids)
    SELECT :sync, new.* FROM unnest(CAST(:lows AS bytea[]), CAST(:sizes AS int[]), CAST(:marked AS int[]),
        CAST(:keys AS bytea[]), CAST(:contents AS bytea[]), CAST(:runs AS bytea[]), CAST(:marks AS bytea[]),
        CAST(:item_ids AS bytea[])) AS new
    ON CONFLICT (sync, low) DO UPDATE SET size = EXCLUDED.size, marked = EXCLUDED.marked, keys = EXCLUDED.keys,
        contents = EXCLUDED.contents, runs = EXCLUDED.runs, marks = EXCLUDED.marks, item_ids = EXCLUDED.item_ids
    """
)

_CHANGE = text(
    """
    UPDATE sync_block SET marked = new.marked, contents = new.contents, runs = new.runs, marks = new.marks
    FROM unnest(CAST(:lows AS bytea[]), CAST(:marked AS int[]), CAST(:contents AS bytea[]), CAST(:runs AS bytea[]),
        CAST(:marks AS bytea[])) AS new (low, marked, contents, runs, marks)
    WHERE sync_block.sync = :sync AND sync_block.low = new.low
    """
)

_IN_LEDGERS = text(
    """
    SELECT DISTINCT part.key FROM job JOIN sync ON sync.name = job.sync AND sync.create_time <= job.create_time
        JOIN job_block USING (job_id),
        LATERAL (SELECT substring(digests FROM at * 16 + 1 FOR 16) AS key, get_byte(outcomes, at) AS outcome
                 FROM generate_series(0, length(digests) / 16 - 1) AS at) AS part
    WHERE job.sync = ANY(CAST(:syncs AS text[])) AND job.sync <> '' AND NOT job.folded
      AND job_block.item_ids IS NOT NULL AND job_block.contents IS NOT NULL
      AND part.outcome = ANY(CAST(:outcomes AS int[])) AND part.key = ANY(CAST(:keys AS bytea[]))
    """
)

_FINISH = text(
    """
    UPDATE sync SET generation = generation
            + CAST(:changed OR EXISTS (SELECT FROM sync_missing WHERE sync = :sync AND last_job_id = :job_id) AS int),
        unsettled_until = CASE WHEN :open THEN GREATEST(unsettled_until, (SELECT end_time FROM job
            WHERE job_id = :job_id) + make_interval(secs => :settle_s)) ELSE unsettled_until END
    WHERE name = :sync
    """
)

_RUN = text(
    """
    INSERT INTO sync_run (sync, number, job_id, end_time)
    SELECT sync, (task ->> 'run_number')::int, job_id, end_time FROM job WHERE job_id = :job_id
    ON CONFLICT DO NOTHING
    """
)


@dataclass(frozen=True, kw_only=True)
class Unfolded:
    """A final job whose ledger is not in what its sync knows."""

    sync: str
    job_id: str
    run_number: int


class FoldStore:
    """Methods are one transaction each, except the iterator; each raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unfolded(self, sync: str) -> list[Unfolded]:
        """The jobs of a sync that have to be folded, in their order."""
        with self._database.read() as connection:
            rows = connection.execute(_UNFOLDED, {"sync": sync}).all()
        return [Unfolded(sync=sync, job_id=row.job_id, run_number=row.run_number) for row in rows]

    def size(self, job_id: str) -> int:
        """Rows of a ledger that say something of items."""
        query = select(func.coalesce(func.sum(func.length(_ledger.c.outcomes)), 0)).where(*_says_something(job_id))
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def ledger(self, job_id: str) -> Iterator[Block]:
        """The blocks of a ledger that say something of items, in their order."""
        after = -1
        while True:
            query = select(_ledger).where(*_says_something(job_id), _ledger.c.block > after)
            with self._database.read() as connection:
                rows = connection.execute(query.order_by(_ledger.c.block).limit(_AT_ONCE)).all()
            yield from map(_ledger_block, rows)
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].block

    def in_ledgers(self, syncs: Sequence[str], keys: Sequence[bytes], outcomes: Sequence[int]) -> set[bytes]:
        """Those of the keys of which jobs of these syncs have one of the outcomes, and whose ledger is not folded yet.

        Reads all of those ledgers: ask rarely, for many at once.
        """
        with self._database.read() as connection:
            values = {"syncs": list(syncs), "keys": list(keys), "outcomes": list(outcomes)}
            rows = connection.execute(_IN_LEDGERS, values)
            return {bytes(row.key) for row in rows}

    @contextmanager
    def slice(self, job: Unfolded) -> Iterator[FoldSlice | None]:
        """A transaction in which a part of a ledger is folded. None: somebody has folded all of it, or reset the sync.

        Everything that was written is committed at the end.
        """
        with self._database.begin() as connection:
            yield FoldSlice(connection, job) if _may_fold(connection, job) else None

    def finish(self, job: Unfolded, *, changed: bool, open_requests: bool, settle_s: float) -> None:
        """All of it is folded. `open_requests`: some of it may be at work for `settle_s` after the end of the job."""
        with self._database.begin() as connection:
            if not _may_fold(connection, job):
                return
            values = {"sync": job.sync, "job_id": job.job_id}
            connection.execute(_FINISH, {**values, "changed": changed, "open": open_requests, "settle_s": settle_s})
            if changed:
                connection.execute(_RUN, {"job_id": job.job_id})
            connection.execute(update(_job).where(_job.c.job_id == job.job_id).values(folded=True))


class FoldSlice:
    """One transaction over the blocks of a sync, whose row it has locked."""

    def __init__(self, connection: Connection, job: Unfolded) -> None:
        self._connection = connection
        self._sync = job.sync

    def lows(self, first: bytes, last: bytes) -> list[bytes]:
        """Where the blocks begin that have the keys from `first` to `last`, in their order."""
        mine = _block.c.sync == self._sync
        floor = select(func.max(_block.c.low)).where(mine, _block.c.low <= first).scalar_subquery()
        query = select(_block.c.low).where(mine, _block.c.low >= floor, _block.c.low <= last).order_by(_block.c.low)
        return [bytes(low) for low in self._connection.execute(query).scalars()]

    def before(self, low: bytes) -> bytes | None:
        """Where the block before this one begins."""
        query = select(func.max(_block.c.low)).where(_block.c.sync == self._sync, _block.c.low < low)
        found = self._connection.execute(query).scalar()
        return None if found is None else bytes(found)

    def blocks(self, lows: Sequence[bytes]) -> list[SyncBlock]:
        """The blocks that begin there, in their order."""
        return read_blocks(self._connection, self._sync, lows=lows, with_ids=True)

    def blocks_without_ids(self, lows: Sequence[bytes]) -> list[SyncBlock]:
        """The same, without their ids."""
        columns: list[Any] = [_block.c.low, _block.c["keys"], _block.c.contents, _block.c.runs, _block.c.marks]
        query = select(*columns).where(
            _block.c.sync == self._sync, _block.c.low == func.any(text("CAST(:lows AS bytea[])"))
        )
        rows = self._connection.execute(query.order_by(_block.c.low), {"lows": list(lows)})
        return [block_from(row) for row in rows]

    def put(self, blocks: Sequence[SyncBlock]) -> None:
        """Writes whole blocks."""
        values = {**_changing(blocks), "keys": [b.keys for b in blocks], "item_ids": [b.item_ids for b in blocks]}
        self._connection.execute(_PUT, {"sync": self._sync, "sizes": [b.size for b in blocks], **values})

    def change(self, blocks: Sequence[SyncBlock]) -> None:
        """Writes blocks that have the same items as before."""
        self._connection.execute(_CHANGE, {"sync": self._sync, **_changing(blocks)})

    def remove(self, lows: Sequence[bytes]) -> None:
        """Takes blocks away."""
        query = text("DELETE FROM sync_block WHERE sync = :sync AND low = ANY(CAST(:lows AS bytea[]))")
        self._connection.execute(query, {"sync": self._sync, "lows": list(lows)})

    def count(self, known: int, dirty: int) -> None:
        """So many more items are known, and so many more are read again."""
        values = {"known_items": _sync.c.known_items + known, "dirty_items": _sync.c.dirty_items + dirty}
        self._connection.execute(update(_sync).where(_sync.c.name == self._sync).values(**values))

    def not_missing(self, keys: Sequence[bytes]) -> None:
        """These are there again, or gone for good."""
        query = text("DELETE FROM sync_missing WHERE sync = :sync AND key = ANY(CAST(:keys AS bytea[]))")
        self._connection.execute(query, {"sync": self._sync, "keys": list(keys)})

    @property
    def any_missing(self) -> bool:
        """Whether runs over all rows did not show some items."""
        missing = tables.sync_missing
        query = select(missing.c.sync).where(missing.c.sync == self._sync).limit(1)
        return self._connection.execute(query).one_or_none() is not None


def _says_something(job_id: str) -> tuple[Any, ...]:
    """All but rows for which there was nothing to do."""
    said = _ledger.c.contents.is_not(None) | _ledger.c.item_ids.is_not(None) | _ledger.c.deletes
    return _ledger.c.job_id == job_id, said


def _ledger_block(row: Any) -> Block:
    return Block(
        number=row.block,
        keys=bytes(row.digests),
        outcomes=bytes(row.outcomes),
        contents=None if row.contents is None else bytes(row.contents),
        item_ids=None if row.item_ids is None else bytes(row.item_ids),
        deletes=row.deletes,
    )


def _changing(blocks: Sequence[SyncBlock]) -> dict[str, Any]:
    return {
        "lows": [block.low for block in blocks],
        "marked": [block.size - block.marks.count(0) for block in blocks],
        "contents": [block.contents for block in blocks],
        "runs": [block.runs for block in blocks],
        "marks": [block.marks for block in blocks],
    }


def _may_fold(connection: Connection, job: Unfolded) -> bool:
    """Locks the row of the sync; whether the job's ledger still has to be folded."""
    held = select(_sync.c.name).where(_sync.c.name == job.sync).with_for_update()
    if connection.execute(held).one_or_none() is None:
        return False
    folded = connection.execute(select(_job.c.folded).where(_job.c.job_id == job.job_id)).scalar()
    return folded is False
