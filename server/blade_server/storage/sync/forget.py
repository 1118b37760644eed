"""What a sync knows, taken away."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, update

from blade_server.storage import tables

_job, _sync = tables.job, tables.sync

NOTHING_KNOWN: dict[str, Any] = {
    "generation": _sync.c.generation + 1,
    "watermark": "",
    "watermark_type": "",
    "feed_version": None,
    "table_id": "",
    "catalog_id": "",
    "key_hash": "",
    "last_whole_time": None,
    "known_items": 0,
    "dirty_items": 0,
    "doubtful": False,
}
"""The columns of a sync that knows of no item."""


def forget_items(connection: Connection, name: str) -> None:
    """Deletes the state of all items, and has no ledger of the past folded into it any more.

    Whoever calls it has locked the sync, and no job of it writes.
    """
    for table in (tables.sync_block, tables.sync_missing):
        connection.execute(delete(table).where(table.c.sync == name))
    left = update(_job).where(_job.c.sync == name, _job.c.sync != "", ~_job.c.folded)
    connection.execute(left.values(folded=True))
