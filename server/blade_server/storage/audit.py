"""The audit log in PostgreSQL: entries in one chain, written one transaction after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select
from sqlalchemy.exc import DBAPIError

from blade_server.errors import StorageUnavailable
from blade_server.model.access import Caller, Deed
from blade_server.model.audit import PRUNE, PRUNED, AuditEntry, AuditFilter, Head, content_of, hash_of
from blade_server.storage import tables
from blade_server.storage.database import Database, lock

_entry = tables.audit_entry
_AS_STORED = select(_entry.c.number, _entry.c.hash, _entry.c.content)

AUDIT_LOCK = 0x424C4144454155  # "BLADEAU"
LOCK_TIMEOUT_S = 3
"""Who wants to write waits so long for the lock, and then for the table."""

# One round trip. A statement of its own for the lock: what the one behind it sees is from after the wait.
_BEGIN = f"""
    SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s';
    SELECT pg_advisory_xact_lock({lock(str(AUDIT_LOCK))});
    SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time,
           head.number, head.hash
    FROM (SELECT) AS always
    LEFT JOIN (SELECT number, hash FROM audit_entry ORDER BY number DESC LIMIT 1) AS head ON true
"""  # noqa: S608 - numbers from this file

_PRUNED = re.compile(rf"{PRUNED}(\d{{1,18}}) ([0-9a-f]{{64}})", re.ASCII)

_WHY_NOT = {
    "55P03": "another transaction holds its table or its lock",
    "53100": "the disk of PostgreSQL is full",
    "42501": "PostgreSQL does not let this server write it",
}
"""By SQLSTATE."""


def write(connection: Connection, by: Caller, deed: Deed) -> int:
    """Writes what a transaction did, as the last statement of it, and returns the entry's number.

    The lock it takes is held until the transaction ends, and whoever waits for it holds rows: nobody who has it may
    lock anything else. Raises StorageUnavailable if the entry cannot be written; then nothing is done.
    """
    return write_all(connection, [(by, deed)])


def write_all(connection: Connection, deeds: Sequence[tuple[Caller, Deed]]) -> int:
    """As `write`, for several deeds, at least one, in their order; the number of the first."""
    try:
        head = connection.exec_driver_sql(_BEGIN).one()
        first, previous, rows = (head.number or 0) + 1, bytes(head.hash or Head().hash), []
        for number, (by, deed) in enumerate(deeds, first):
            content = content_of(number, head.time, by, deed)
            previous = hash_of(previous, content)
            rows.append({"content": content, "hash": previous})
        connection.execute(insert(_entry), rows)
    except DBAPIError as exc:
        why = _WHY_NOT.get(getattr(exc.orig, "pgcode", None) or "")
        if why is None:
            raise
        message = f"the audit log cannot be written, so nothing was done: {why}; the call can be repeated"
        raise StorageUnavailable(message) from exc
    return first


class AuditStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, deeds: Sequence[tuple[Caller, Deed]]) -> int:
        """Writes what nobody's transaction did; the number of the first."""
        with self._database.begin() as connection:
            return write_all(connection, deeds)

    def page(self, wanted: AuditFilter, *, before: int | None, limit: int) -> list[AuditEntry]:
        """At most `limit` entries in front of number `before` (None: the last ones), newest first."""
        query = _filtered(_AS_STORED, wanted).order_by(_entry.c.number.desc()).limit(limit)
        return self._entries(query if before is None else query.where(_entry.c.number < before))

    def after(self, number: int, *, limit: int) -> list[AuditEntry]:
        """At most `limit` entries behind a number, in order."""
        return self._entries(_AS_STORED.where(_entry.c.number > number).order_by(_entry.c.number).limit(limit))

    def _entries(self, query: Select[Any]) -> list[AuditEntry]:
        with self._database.read() as connection:
            return [
                AuditEntry(number=row.number, hash=bytes(row.hash), content=row.content)
                for row in connection.execute(query)
            ]

    def head(self) -> Head:
        """The last entry."""
        query = select(_entry.c.number, _entry.c.hash).order_by(_entry.c.number.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return Head() if row is None else Head(number=row.number, hash=bytes(row.hash))

    def pruned(self) -> Head:
        """The last entry that was pruned, as the log says it."""
        query = _AS_STORED.where(_entry.c.verb == PRUNE).order_by(_entry.c.number.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return Head() if row is None else _pruned_by(row)

    def last_before(self, time: datetime) -> Head:
        """The entry in front of the first one that was written at or after a time."""
        first = select(_entry.c.number).where(_entry.c.time >= as_text(time)).order_by(_entry.c.number).limit(1)
        query = select(_entry.c.number, _entry.c.hash).order_by(_entry.c.number.desc()).limit(1)
        with self._database.read() as connection:
            number = connection.execute(first).scalar()
            row = connection.execute(query if number is None else query.where(_entry.c.number < number)).one_or_none()
        return Head() if row is None else Head(number=row.number, hash=bytes(row.hash))

    def drop(self, number: int, *, limit: int) -> int:
        """Deletes at most `limit` of the oldest entries up to a number, which the log must call pruned; how many."""
        oldest = select(_entry.c.number).where(_entry.c.number <= number).order_by(_entry.c.number).limit(limit)
        with self._database.begin() as connection:
            return connection.execute(_entry.delete().where(_entry.c.number.in_(oldest))).rowcount


def as_text(time: datetime) -> str:
    """As entries have it; the order of these texts is that of the times."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _filtered(query: Select[Any], wanted: AuditFilter) -> Select[Any]:
    if wanted.principal:
        query = query.where(_entry.c.principal == wanted.principal)
    if wanted.method:
        query = query.where(_entry.c.verb == wanted.method.rpartition("/")[2])
        query = query.where(_entry.c.method == wanted.method) if "/" in wanted.method else query
    if wanted.object:
        query = query.where(_entry.c.object == wanted.object)
    if wanted.outcomes:
        query = query.where(_entry.c.outcome.in_(sorted(wanted.outcomes)))
    if wanted.after is not None:
        query = query.where(_entry.c.time >= as_text(wanted.after))
    if wanted.before is not None:
        query = query.where(_entry.c.time < as_text(wanted.before))
    return query


def _pruned_by(row: Row[Any, Any, Any]) -> Head:
    """Nothing, if somebody has spoilt it; then what is kept does not fit."""
    told = AuditEntry(number=row.number, hash=bytes(row.hash), content=row.content).fields
    found = _PRUNED.fullmatch(f"{told['object']} {told['detail']}")
    return Head() if found is None else Head(number=int(found[1]), hash=bytes.fromhex(found[2]))
