"""What a sync knows of one item, as it is stored."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from blade_server.model.sync_block import SyncBlock
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.sync.state import block_from

_block, _missing, _run = tables.sync_block, tables.sync_missing, tables.sync_run


class SentBy(NamedTuple):
    """The job of a run, which may not be kept any more, and when it ended."""

    job_id: str
    end_time: datetime


class ItemStore:
    """All methods are one query each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def block(self, sync: str, key: bytes) -> SyncBlock | None:
        """The block that the key is in, if it is known at all."""
        query = select(_block).where(_block.c.sync == sync, _block.c.low <= key)
        with self._database.read() as connection:
            row = connection.execute(query.order_by(_block.c.low.desc()).limit(1)).one_or_none()
        return None if row is None else block_from(row)

    def missing_since(self, sync: str, key: bytes) -> datetime | None:
        """When a run over all rows first did not show it; None: the last one did."""
        query = select(_missing.c.first_time).where(_missing.c.sync == sync, _missing.c.key == key)
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    def run(self, sync: str, number: int) -> SentBy | None:
        """What became of a run that sent something."""
        query = select(_run.c.job_id, _run.c.end_time).where(_run.c.sync == sync, _run.c.number == number)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else SentBy(row.job_id, row.end_time)
