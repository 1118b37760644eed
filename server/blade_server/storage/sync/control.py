"""What callers do to a sync beside changing its order: pause, resume, own; idempotent, each with its audit row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, update

from blade_server.model.access import Caller, Deed
from blade_server.model.sync import FireOutcome, Sync, SyncOwner
from blade_server.storage import audit, tables
from blade_server.storage.codec import owner_document, owner_from, sync_spec_from
from blade_server.storage.database import Database
from blade_server.storage.jobs.rows import SYNCS, ring
from blade_server.storage.sync.rows import FirstDue, locked, one, time_now

_sync, _fire = tables.sync, tables.sync_fire


class SyncControl:
    """All methods are one transaction each and raise StorageUnavailable, NotFound, AccessDenied."""

    def __init__(self, database: Database, first_due: FirstDue) -> None:
        self._database = database
        self._first_due = first_due

    def pause(self, name: str, *, by: Caller, reason: str) -> Sync:
        """Due times start nothing from here on, those that wait for the end of a run neither."""

        def change(connection: Connection, row: Row[Any]) -> dict[str, Any]:
            if row.queued:
                waits = (_fire.c.sync == name, _fire.c.outcome == FireOutcome.QUEUED)
                missed = {"outcome": FireOutcome.MISSED, "detail": "the sync was paused before it could start"}
                connection.execute(update(_fire).where(*waits).values(missed))
            said = f"by {by.name}: {reason}" if reason else f"by {by.name}"
            return {} if row.paused else {"paused": True, "pause_reason": said, "next_due": None, "queued": False}

        return self._change(name, change, by, reason)

    def resume(self, name: str, *, by: Caller, reason: str) -> Sync:
        """Due times count again, from the next one on."""

        def change(connection: Connection, row: Row[Any]) -> dict[str, Any]:
            if not row.paused:
                return {}
            due = self._first_due(name, sync_spec_from(row.spec), time_now(connection))
            ring(connection, SYNCS)
            return {"paused": False, "pause_reason": "", "next_due": due, "failures": 0}

        return self._change(name, change, by, reason)

    def own(self, name: str, owner: SyncOwner, *, by: Caller, reason: str) -> Sync:
        """Due runs have the rights of that owner from here on."""

        def change(connection: Connection, row: Row[Any]) -> dict[str, Any]:
            return {} if owner_from(row.owner) == owner else {"owner": owner_document(owner)}

        return self._change(name, change, by, reason)

    def _change(
        self, name: str, change: Callable[[Connection, Row[Any]], dict[str, Any]], by: Caller, reason: str
    ) -> Sync:
        with self._database.begin() as connection:
            values = change(connection, locked(connection, name, by))
            if values:
                connection.execute(update(_sync).where(_sync.c.name == name).values(values))
            sync = one(connection, name, by.sees)
            if values:
                audit.write(connection, by, Deed(about=f"sync:{name}", reason=reason))
            return sync
