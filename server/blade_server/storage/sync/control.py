"""What callers do to a sync beside changing its order: pause, resume, own; idempotent, each with its audit row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Row, update

from blade_server.model.access import Caller, Deed
from blade_server.model.sync import Sync, SyncOwner, SyncSpec
from blade_server.storage import audit, tables
from blade_server.storage.codec import owner_document, owner_from, sync_spec_from
from blade_server.storage.database import Database
from blade_server.storage.sync.rows import locked, one

_sync = tables.sync


class SyncControl:
    """All methods are one transaction each and raise StorageUnavailable, NotFound, AccessDenied."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pause(self, name: str, *, by: Caller, reason: str) -> Sync:
        """Due times start nothing from here on, those that wait for the end of a run neither."""

        def change(row: Row[Any]) -> dict[str, Any]:
            said = f"by {by.name}: {reason}" if reason else f"by {by.name}"
            return {} if row.paused else {"paused": True, "pause_reason": said, "next_due": None, "queued": False}

        return self._change(name, change, by, reason)

    def resume(
        self, name: str, *, by: Caller, reason: str, next_due: Callable[[SyncSpec], datetime | None]
    ) -> Sync:
        """Due times count again, from `next_due` of the spec on."""

        def change(row: Row[Any]) -> dict[str, Any]:
            if not row.paused:
                return {}
            due = next_due(sync_spec_from(row.spec))
            return {"paused": False, "pause_reason": "", "next_due": due, "failures": 0}

        return self._change(name, change, by, reason)

    def own(self, name: str, owner: SyncOwner, *, by: Caller, reason: str) -> Sync:
        """Due runs have the rights of that owner from here on."""

        def change(row: Row[Any]) -> dict[str, Any]:
            return {} if owner_from(row.owner) == owner else {"owner": owner_document(owner)}

        return self._change(name, change, by, reason)

    def _change(self, name: str, change: Callable[[Row[Any]], dict[str, Any]], by: Caller, reason: str) -> Sync:
        with self._database.begin() as connection:
            values = change(locked(connection, name, by))
            if values:
                connection.execute(update(_sync).where(_sync.c.name == name).values(values))
            sync = one(connection, name, by.sees)
            if values:
                audit.write(connection, by, Deed(about=f"sync:{name}", reason=reason))
            return sync
