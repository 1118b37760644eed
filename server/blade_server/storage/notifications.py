"""Notifications in PostgreSQL: stored, found, changed, taken away, each with its audit row."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from blade_server.errors import AlreadyExists, Conflict, Invalid, NotFound, Precondition, Reason, meant
from blade_server.model.access import Caller, Deed
from blade_server.model.notification import Notification, NotificationEvent, NotificationFormat
from blade_server.storage import audit, tables
from blade_server.storage.database import Database
from blade_server.storage.repeated import stored_before

_notification, _sync = tables.notification, tables.sync
_NAMES = 1000
_NAMED_SYNCS = 5


def _from_row(row: Row[Any]) -> Notification:
    return Notification(
        name=row.name,
        url=row.url,
        secret=row.secret,
        format=NotificationFormat(row.format),
        events=tuple(map(NotificationEvent, row.events)),
        disabled=row.disabled,
        etag=row.etag,
        create_time=row.create_time,
        update_time=row.update_time,
    )


def _columns(notification: Notification) -> dict[str, Any]:
    return {
        "url": notification.url,
        "secret": notification.secret,
        "format": notification.format,
        "events": [event.value for event in notification.events],
        "disabled": notification.disabled,
        "etag": secrets.token_hex(8),
        "update_time": func.now(),
    }


def _unknown(connection: Connection, name: str) -> str:
    names = connection.execute(select(_notification.c.name).limit(_NAMES)).scalars().all()
    return f"there is no notification {name!r}{meant(name, names)}"


class NotificationStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, notification: Notification, *, by: Caller, request_id: str = "", request_hash: str = ""
    ) -> Notification:
        """Stores a new one.

        The same `request_id` and `request_hash` again return what the first call stored. Raises AlreadyExists if the
        name is taken, Invalid if the request id was used with another hash.
        """
        values = {
            **_columns(notification),
            "name": notification.name,
            "request_id": by.own(request_id) or None,
            "request_hash": request_hash,
            "create_time": func.now(),
        }
        try:
            with self._database.begin() as connection:
                stored = self._replay(connection, request_id, request_hash, by)
                if stored is not None:
                    return stored
                row = connection.execute(insert(_notification).values(values).returning(_notification)).one()
                audit.write(connection, by, _about(notification.name))
                return _from_row(row)
        except IntegrityError as exc:
            with self._database.begin() as connection:  # two calls with one request id at the same moment
                stored = self._replay(connection, request_id, request_hash, by)
            if stored is not None:
                return stored
            raise AlreadyExists(
                f"a notification named {notification.name!r} exists; change that one or take another name",
                reason=Reason.NOTIFICATION_EXISTS,
            ) from exc

    def _replay(self, connection: Connection, request_id: str, request_hash: str, by: Caller) -> Notification | None:
        asked = (request_id, request_hash)
        row = stored_before(connection, select(_notification), _notification, asked, by=by, what="notification")
        return None if row is None else _from_row(row)

    def check(self, names: Sequence[str], *, field: str) -> None:
        """Raises Invalid for the first that is not there; the error names `field[PLACE]`."""
        with self._database.read() as connection:
            known = _notification.c.name.in_(sorted(names))
            found = set(connection.execute(select(_notification.c.name).where(known)).scalars()) if names else set()
            for place, name in enumerate(names):
                if name not in found:
                    text_ = _unknown(connection, name)
                    raise Invalid.field(f"{field}[{place}]", text_, reason=Reason.NOTIFICATION_NOT_FOUND)

    def get(self, name: str) -> Notification:
        """Raises NotFound."""
        with self._database.begin() as connection:
            row = connection.execute(select(_notification).where(_notification.c.name == name)).one_or_none()
            if row is None:
                raise _not_found(connection, name)
            return _from_row(row)

    def page(self, after_name: str, limit: int) -> Sequence[Notification]:
        """At most `limit` behind `after_name`, by name."""
        query = select(_notification).where(_notification.c.name > after_name).order_by(_notification.c.name)
        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query.limit(limit))]

    def update(self, notification: Notification, expected_etag: str, *, by: Caller) -> Notification:
        """Replaces everything but name and creation time. Raises NotFound, Conflict."""
        with self._database.begin() as connection:
            self._lock(connection, notification.name, expected_etag)
            changed = update(_notification).where(_notification.c.name == notification.name)
            row = connection.execute(changed.values(_columns(notification)).returning(_notification)).one()
            audit.write(connection, by, _about(notification.name))
            return _from_row(row)

    def remove(self, name: str, etag: str, *, by: Caller, reason: str) -> None:
        """With what waits for it. Raises NotFound, Conflict, and Precondition while syncs name it."""
        using = (
            select(_sync.c.name)
            .where(text("jsonb_exists(sync.spec -> 'notifications', :name)").bindparams(name=name))
            .order_by(_sync.c.name)
            .limit(_NAMED_SYNCS)
        )
        with self._database.begin() as connection:
            self._lock(connection, name, etag)
            syncs = connection.execute(using).scalars().all()
            if syncs:
                raise Precondition(
                    f"notification {name!r} is told of {', '.join(map(repr, syncs))}"
                    f"{' and others' if len(syncs) == _NAMED_SYNCS else ''}; take it out of these syncs first",
                    reason=Reason.NOTIFICATION_IN_USE,
                )
            connection.execute(delete(_notification).where(_notification.c.name == name))
            audit.write(connection, by, Deed(about=f"notification:{name}", reason=reason))

    def _lock(self, connection: Connection, name: str, etag: str) -> None:
        locked = select(_notification.c.etag).where(_notification.c.name == name).with_for_update()
        stored = connection.execute(locked).one_or_none()
        if stored is None:
            raise _not_found(connection, name)
        if etag and etag != stored.etag:
            raise Conflict(
                f"notification {name!r} was changed by somebody else (etag {stored.etag}, not {etag}); read it again"
            )


def _about(name: str) -> Deed:
    return Deed(about=f"notification:{name}")


def _not_found(connection: Connection, name: str) -> NotFound:
    return NotFound(_unknown(connection, name), reason=Reason.NOTIFICATION_NOT_FOUND)
