"""The ledger of a job: what was about to be sent, and what became of it, a block for each batch.

It outlives the server that wrote it, so that its successor knows what to skip and what to look up. How keys and
outcomes are made and read is in `core/engine/ledger.py`; here they are bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, text

from blade_server.errors import Reason
from blade_server.model import Block, Claim
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.engine.claims import fence_values, lost

_block = tables.job_block

_INTEND = text(
    """
    INSERT INTO job_block (job_id, block, digests, outcomes)
    SELECT :job_id, new.block, new.digests, new.outcomes
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:keys AS bytea[]), CAST(:outcomes AS bytea[]))
         AS new (block, digests, outcomes)
    WHERE EXISTS (SELECT FROM job WHERE job_id = :job_id AND epoch = :epoch AND owner = :owner
                  AND status = 'RUNNING' FOR SHARE)
    ON CONFLICT (job_id, block) DO UPDATE SET outcomes = EXCLUDED.outcomes
    """
)

_INTEND_OF_SYNC = text(
    """
    INSERT INTO job_block (job_id, block, digests, outcomes, contents, item_ids, deletes)
    SELECT :job_id, new.*
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:keys AS bytea[]), CAST(:outcomes AS bytea[]),
                CAST(:contents AS bytea[]), CAST(:item_ids AS bytea[]), CAST(:deletes AS boolean[]))
         AS new (block, digests, outcomes, contents, item_ids, deletes)
    WHERE EXISTS (SELECT FROM job WHERE job_id = :job_id AND epoch = :epoch AND owner = :owner
                  AND status = 'RUNNING' FOR SHARE)
    ON CONFLICT (job_id, block) DO UPDATE SET outcomes = EXCLUDED.outcomes
    """
)

_ADD = text(
    """
    INSERT INTO job_block (job_id, block, digests, outcomes, contents, item_ids, deletes)
    SELECT :job_id, new.*
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:keys AS bytea[]), CAST(:outcomes AS bytea[]),
                CAST(:contents AS bytea[]), CAST(:item_ids AS bytea[]), CAST(:deletes AS boolean[]))
         AS new (block, digests, outcomes, contents, item_ids, deletes)
    """
)

_OUTCOMES = text(
    """
    UPDATE job_block SET outcomes = done.outcomes
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:outcomes AS bytea[])) AS done (block, outcomes)
    WHERE job_block.job_id = :job_id AND job_block.block = done.block
    """
)


class LedgerStore:
    """All methods are one transaction each, except the iterators; each raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def intend(self, claim: Claim, blocks: Sequence[Block]) -> None:
        """Writes down what is about to be sent. Repeating it is harmless."""
        intend = _INTEND if claim.task is None else _INTEND_OF_SYNC
        values = _values(blocks) if claim.task is None else _values_of_sync(blocks)
        with self._database.begin() as connection:
            if connection.execute(intend, {**fence_values(claim), **values}).rowcount != len(blocks):
                raise lost(claim)

    def blocks(self, job_id: str, *, chunk: int = 2000) -> Iterator[list[Block]]:
        """The whole ledger of a job in its order, `chunk` blocks at a time."""
        after = -1
        while True:
            query = (
                select(_block.c.block, _block.c.digests, _block.c.outcomes, _block.c.deletes)
                .where(_block.c.job_id == job_id, _block.c.block > after)
                .order_by(_block.c.block)
                .limit(chunk)
            )
            with self._database.begin() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            after = rows[-1].block
            yield [
                Block(number=row.block, keys=bytes(row.digests), outcomes=bytes(row.outcomes), deletes=row.deletes)
                for row in rows
            ]

    def size(self, job_id: str) -> int:
        """Rows in the ledger of a job."""
        with self._database.begin() as connection:
            size = select(func.coalesce(func.sum(func.length(_block.c.outcomes)), 0)).where(_block.c.job_id == job_id)
            return int(connection.execute(size).scalar_one())

    def known_keys(self, job_id: str, since_block: int, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys that the ledger has from this block on. Reads all of it: ask rarely, for many at once."""
        query = text(
            """
            SELECT DISTINCT part.key FROM job_block,
                LATERAL (SELECT substring(digests FROM at * 16 + 1 FOR 16) AS key
                         FROM generate_series(0, length(digests) / 16 - 1) AS at) AS part
            WHERE job_id = :job_id AND block >= :since_block AND NOT deletes
              AND part.key = ANY(CAST(:keys AS bytea[]))
            """
        )
        values = {"job_id": job_id, "since_block": since_block, "keys": list(keys)}
        with self._database.begin() as connection:
            return {bytes(row.key) for row in connection.execute(query, values)}

    def failed_keys(self, job_id: str, *, chunk: int = 20_000) -> Iterator[list[bytes]]:
        """The keys of the failed items of a job, `chunk` at a time; a second row with one item id is none."""
        error = tables.job_item_error
        after = -1
        while True:
            query = (
                select(error.c.seq, error.c.key)
                .where(error.c.job_id == job_id, error.c.seq > after, error.c.reason != Reason.DUPLICATE_ITEM_ID)
                .order_by(error.c.seq)
                .limit(chunk)
            )
            with self._database.begin() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return
            after = rows[-1].seq
            yield [bytes(row.key) for row in rows]


def _values(blocks: Sequence[Block]) -> dict[str, Any]:
    return {
        "numbers": [block.number for block in blocks],
        "keys": [block.keys for block in blocks],
        "outcomes": [block.outcomes for block in blocks],
    }


def _values_of_sync(blocks: Sequence[Block]) -> dict[str, Any]:
    return {
        **_values(blocks),
        "contents": [block.contents for block in blocks],
        "item_ids": [block.item_ids for block in blocks],
        "deletes": [block.deletes for block in blocks],
    }


def add_blocks(connection: Connection, job_id: str, blocks: Sequence[Block]) -> None:
    """Writes down rows that nothing had to be intended for; whoever calls holds the fence."""
    connection.execute(_ADD, {"job_id": job_id, **_values_of_sync(blocks)})


def set_outcomes(connection: Connection, job_id: str, blocks: Sequence[Block]) -> bool:
    """Writes what became of rows that were intended; whoever calls holds the fence. False: some are not there."""
    values = {
        "job_id": job_id,
        "numbers": [block.number for block in blocks],
        "outcomes": [block.outcomes for block in blocks],
    }
    return connection.execute(_OUTCOMES, values).rowcount == len(blocks)
