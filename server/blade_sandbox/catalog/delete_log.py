"""What became of each delete, kept beside the items: it proves what was deleted, how often, and what never."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deletes (
    id INTEGER PRIMARY KEY, data_source TEXT NOT NULL, item_id TEXT NOT NULL,
    status INTEGER NOT NULL, copies INTEGER NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS deletes_by_item ON deletes (item_id);
"""
_KEPT = 1_000_000
MAX_SHOWN = 10_000


class Deleted(NamedTuple):
    """One delete that was answered: with 204 and the `copies` that are gone by it, or with another status and none."""

    data_source: str
    item_id: str
    status: int
    copies: int


class DeleteLog:
    """The last million, in the order in which they were done.

    Attributes:
        removed: items deleted by this process.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        db.executescript(_SCHEMA)
        self._db = db
        self.removed = 0

    def add(self, deleted: Sequence[Deleted]) -> None:
        """Within the caller's transaction."""
        at = datetime.now(UTC).isoformat()
        self._db.executemany(
            "INSERT INTO deletes (data_source, item_id, status, copies, at) VALUES (?, ?, ?, ?, ?)",
            [(*one, at) for one in deleted],
        )
        self._db.execute("DELETE FROM deletes WHERE id <= (SELECT max(id) FROM deletes) - ?", (_KEPT,))
        self.removed += sum(one.status == 204 for one in deleted)

    def shown(self, data_source: str | None, item_id: str | None) -> list[dict[str, Any]]:
        """The last MAX_SHOWN of a data source, of an item id, or of all where None; oldest first, `at` in RFC 3339."""
        found = self._db.execute(
            "SELECT data_source, item_id, status, copies, at FROM deletes"
            " WHERE (?1 IS NULL OR data_source = ?1) AND (?2 IS NULL OR item_id = ?2) ORDER BY id DESC LIMIT ?3",
            (data_source, item_id, MAX_SHOWN),
        ).fetchall()
        names = ("dataSource", "itemId", "status", "copies", "at")
        return [dict(zip(names, row, strict=True)) for row in reversed(found)]
