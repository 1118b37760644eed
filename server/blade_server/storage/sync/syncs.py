"""The orders: stored, found, changed, taken away, each with its audit row."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from blade_server.errors import AlreadyExists, Reason, check_may
from blade_server.model.access import Caller, Deed, Scope
from blade_server.model.sync import Sync
from blade_server.storage import audit, tables
from blade_server.storage.codec import cursor_column, owner_document, sync_spec_document, sync_spec_from
from blade_server.storage.database import Database
from blade_server.storage.destinations import hold
from blade_server.storage.jobs.rows import SYNCS, ring
from blade_server.storage.jobs.runs import check_idle
from blade_server.storage.repeated import stored_before
from blade_server.storage.sync.forget import NOTHING_KNOWN, forget_items
from blade_server.storage.sync.places import check_place, hold_source, lock_places
from blade_server.storage.sync.rows import FirstDue, locked, one, shown, sync_from, time_now
from blade_server.storage.within import within

_sync = tables.sync


def _columns(sync: Sync) -> dict[str, Any]:
    return {
        "destination": sync.spec.destination,
        "scope": sync.spec.scope,
        "spec": sync_spec_document(sync.spec),
        "etag": secrets.token_hex(8),
        "owner": owner_document(sync.owner),
        "update_time": func.now(),
    }


class SyncStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database, first_due: FirstDue) -> None:
        self._database = database
        self._first_due = first_due

    def add(
        self,
        sync: Sync,
        *,
        by: Caller,
        request_id: str = "",
        request_hash: str = "",
        reason: str = "",
        detail: str = "",
    ) -> Sync:
        """Stores a new sync: name, spec, data type, owner and pause of what is given.

        The same `request_id` and `request_hash` again return what the first call stored. Raises AlreadyExists if the
        name is taken or another sync writes the same items; Invalid if the request id was used with another hash;
        NotFound, Conflict for the source.
        """
        with self._database.begin() as connection:
            lock_places(connection)
            stored = self._replay(connection, request_id, request_hash, by)
            if stored is not None:
                return stored
            self._check_name(connection, sync.name)
            hold_source(connection, sync)
            hold(connection, sync.spec.destination)
            check_place(connection, sync, by)
            values = {
                **_columns(sync),
                "name": sync.name,
                "source": sync.spec.source,
                "data_type": sync.data_type,
                "paused": sync.paused,
                "pause_reason": sync.pause_reason,
                "next_due": None if sync.paused else self._first_due(sync.name, sync.spec, time_now(connection)),
                "request_id": by.own(request_id) or None,
                "request_hash": request_hash,
                "create_time": func.now(),
            }
            connection.execute(insert(_sync).values(values))
            ring(connection, SYNCS)
            new = one(connection, sync.name, by.sees)
            audit.write(connection, by, Deed(about=f"sync:{sync.name}", reason=reason, detail=detail))
            return new

    def replay(self, request_id: str, request_hash: str, *, by: Caller) -> Sync | None:
        """The sync that an earlier call with this id and body stored. Raises Invalid as `add`."""
        if not request_id:
            return None
        with self._database.begin() as connection:
            return self._replay(connection, request_id, request_hash, by)

    def check_free(self, sync: Sync, *, by: Caller) -> None:
        """Raises what `add` would raise now for the name and the place."""
        with self._database.begin() as connection:
            self._check_name(connection, sync.name)
            hold_source(connection, sync)
            hold(connection, sync.spec.destination)
            check_place(connection, sync, by)

    def _check_name(self, connection: Connection, name: str) -> None:
        if connection.execute(select(_sync.c.name).where(_sync.c.name == name)).one_or_none() is not None:
            raise AlreadyExists(
                f"a sync named {name!r} exists; change that one or take another name", reason=Reason.SYNC_EXISTS
            )

    def _replay(self, connection: Connection, request_id: str, request_hash: str, by: Caller) -> Sync | None:
        asked = (request_id, request_hash)
        row = stored_before(connection, select(_sync), _sync, asked, by=by, what="sync")
        if row is None:
            return None
        stored = one(connection, row.name, by.sees)
        check_may(by, row.source, row.data_type, f"sync {row.name!r}")
        return stored

    def get(self, name: str, seen: Scope) -> Sync:
        """Raises NotFound, also for one that may not be seen."""
        with self._database.read() as connection:
            return one(connection, name, seen)

    def page(self, after_name: str, limit: int, *, source: str, destination: str, seen: Scope) -> list[Sync]:
        """At most `limit` syncs behind `after_name`, by name; `source`, `destination` "": of all."""
        query: Select[Any] = shown().where(_sync.c.name > after_name, within(seen, _sync.c.source, _sync.c.data_type))
        if source:
            query = query.where(_sync.c.source == source)
        if destination:
            query = query.where(_sync.c.destination == destination)
        with self._database.read() as connection:
            return [sync_from(row) for row in connection.execute(query.order_by(_sync.c.name).limit(limit))]

    def update(self, sync: Sync, expected_etag: str, *, by: Caller, moved: bool, reason: str = "") -> Sync:
        """Replaces spec and owner, and the next due time with the schedule.

        `moved`: what it knows is of another place, and is forgotten.

        Raises NotFound, Conflict, AlreadyExists as `add`; Precondition: `moved` while a job of it writes.
        """
        with self._database.begin() as connection:
            lock_places(connection)
            before = locked(connection, sync.name, by, expected_etag)
            hold(connection, sync.spec.destination)
            check_place(connection, sync, by)
            values = _columns(sync)
            if not before.paused and sync_spec_from(before.spec).schedule != sync.spec.schedule:
                values |= {"next_due": self._first_due(sync.name, sync.spec, time_now(connection)), "queued": False}
                ring(connection, SYNCS)
            if cursor_column(before.spec) != cursor_column(values["spec"]):
                # A value of the other column: the next run reads all rows.
                values["watermark"] = values["watermark_type"] = ""
            if moved:
                check_idle(connection, sync.name)
                forget_items(connection, sync.name)
                values |= NOTHING_KNOWN
            connection.execute(update(_sync).where(_sync.c.name == sync.name).values(values))
            changed = one(connection, sync.name, by.sees)
            detail = "in another place; what it knew is forgotten" if moved else ""
            audit.write(connection, by, Deed(about=f"sync:{sync.name}", reason=reason, detail=detail))
            return changed

    def remove(self, name: str, etag: str, *, by: Caller, reason: str) -> int:
        """Takes it away with what it knows; how many items stay in the destination.

        Raises NotFound, Conflict; Precondition while a job of it writes.
        """
        with self._database.begin() as connection:
            row = locked(connection, name, by, etag)
            check_idle(connection, name)
            forget_items(connection, name)
            connection.execute(delete(_sync).where(_sync.c.name == name))
            left = f"{row.known_items} items stay in destination {row.destination}"
            audit.write(connection, by, Deed(about=f"sync:{name}", reason=reason, detail=left))
            return int(row.known_items)
