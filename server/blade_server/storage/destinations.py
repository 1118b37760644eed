"""Destinations in PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from blade_server.errors import AlreadyExists, Conflict, NotFound, Precondition, Reason, meant
from blade_server.model import FINAL
from blade_server.model.access import Caller, Deed
from blade_server.model.destination import DEFAULT_DESTINATION, Destination
from blade_server.storage import audit, tables
from blade_server.storage.database import Database
from blade_server.storage.repeated import stored_before

_destination = tables.destination
_NAMES = 1000
"""So many are looked through for one that a misspelt name was meant to be."""
_SHOWN = 3


def hold(connection: Connection, name: str) -> str:
    """Whoever stores what names a destination calls this first: until his transaction ends nobody deletes it.

    Returns what tells its catalog apart now (`Destination.identity`), "" for the server's own. Raises NotFound.
    """
    if name == DEFAULT_DESTINATION:
        return ""
    held = select(_destination).where(_destination.c.name == name).with_for_update(read=True, key_share=True)
    row = connection.execute(held).one_or_none()
    if row is None:
        raise _not_found(connection, name)
    return _from_row(row).identity


class DestinationStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, destination: Destination, *, by: Caller, request_id: str = "", request_hash: str = "") -> Destination:
        """Stores a new destination and returns it with times and etag.

        The same `request_id` and `request_hash` again return what the first call stored. Raises AlreadyExists if the
        name is taken, Invalid if the request id was used with another hash.
        """
        values = {
            **_columns(destination),
            "name": destination.name,
            "request_id": by.own(request_id) or None,
            "request_hash": request_hash,
            "create_time": func.now(),
        }
        try:
            with self._database.begin() as connection:
                stored = _replay(connection, request_id, request_hash, by)
                if stored is not None:
                    return stored
                row = connection.execute(insert(_destination).values(values).returning(_destination)).one()
                audit.write(connection, by, _about(destination.name))
                return _from_row(row)
        except IntegrityError as exc:
            with self._database.begin() as connection:  # two calls with one request id at the same moment
                stored = _replay(connection, request_id, request_hash, by)
            if stored is not None:
                return stored
            raise AlreadyExists(
                f"a destination named {destination.name!r} exists; change that one or take another name",
                reason=Reason.DESTINATION_EXISTS,
            ) from exc

    def get(self, name: str) -> Destination:
        """Raises NotFound."""
        with self._database.begin() as connection:
            row = connection.execute(select(_destination).where(_destination.c.name == name)).one_or_none()
            if row is None:
                raise _not_found(connection, name)
            return _from_row(row)

    def page(self, after_name: str, limit: int) -> list[Destination]:
        """At most `limit` destinations behind `after_name`, by name."""
        query = select(_destination).where(_destination.c.name > after_name).order_by(_destination.c.name).limit(limit)
        with self._database.begin() as connection:
            return list(map(_from_row, connection.execute(query)))

    def update(self, destination: Destination, expected_etag: str, *, by: Caller) -> Destination:
        """Replaces everything but name and creation time. Raises NotFound, Conflict."""
        with self._database.begin() as connection:
            _lock(connection, destination.name, expected_etag)
            changed = update(_destination).where(_destination.c.name == destination.name).values(_columns(destination))
            row = connection.execute(changed.returning(_destination)).one()
            audit.write(connection, by, _about(destination.name))
            return _from_row(row)

    def remove(self, name: str, etag: str = "", *, by: Caller) -> None:
        """Raises NotFound, Conflict, and Precondition while syncs, sources or jobs that are not final name it."""
        with self._database.begin() as connection:
            _lock(connection, name, etag)
            users = list(_users(connection, name))
            if users:
                raise Precondition(
                    f"destination {name!r} is in use by {'; '.join(users)}: give those another destination, or remove "
                    "them, or let the jobs end",
                    reason=Reason.DESTINATION_IN_USE,
                )
            connection.execute(delete(_destination).where(_destination.c.name == name))
            audit.write(connection, by, _about(name))


def _users(connection: Connection, name: str) -> Iterator[str]:
    sync, source, job = tables.sync, tables.source, tables.job
    queries: dict[str, Select[Any]] = {
        "syncs": select(sync.c.name).where(sync.c.destination == name).order_by(sync.c.name),
        "sources": select(source.c.name).where(source.c.config["destination"].astext == name).order_by(source.c.name),
        "jobs that are not final": select(job.c.job_id)
        .where(job.c.status.not_in(FINAL), job.c.spec["destination"].astext == name)
        .order_by(job.c.job_id),
    }
    for what, query in queries.items():
        found = connection.execute(query.limit(_SHOWN + 1)).scalars().all()
        if found:
            yield f"{what} {', '.join(found[:_SHOWN])}" + (" and others" if len(found) > _SHOWN else "")


def _lock(connection: Connection, name: str, etag: str) -> None:
    locked = select(_destination.c.etag).where(_destination.c.name == name).with_for_update()
    stored = connection.execute(locked).scalar_one_or_none()
    if stored is None:
        raise _not_found(connection, name)
    if etag and etag != stored:
        raise Conflict(f"destination {name!r} was changed by somebody else (etag {stored}, not {etag}); read it again")


def _not_found(connection: Connection, name: str) -> NotFound:
    names = [DEFAULT_DESTINATION, *connection.execute(select(_destination.c.name).limit(_NAMES)).scalars()]
    return NotFound(f"there is no destination {name!r}{meant(name, names)}", reason=Reason.DESTINATION_NOT_FOUND)


def _replay(connection: Connection, request_id: str, request_hash: str, by: Caller) -> Destination | None:
    asked = (request_id, request_hash)
    row = stored_before(connection, select(_destination), _destination, asked, by=by, what="destination")
    return None if row is None else _from_row(row)


def _about(name: str) -> Deed:
    return Deed(about=f"destination:{name}")


def _columns(destination: Destination) -> dict[str, Any]:
    return {
        "display_name": destination.display_name,
        "url": destination.url,
        "credentials": destination.credentials,
        "ca_file": destination.ca_file,
        "items_per_second": destination.items_per_second,
        "timeout_s": destination.timeout_s,
        "ceiling": destination.ceiling,
        "catalog_id": destination.catalog_id,
        "etag": secrets.token_hex(8),
        "update_time": func.now(),
    }


def _from_row(row: Row[Any]) -> Destination:
    return Destination(
        name=row.name,
        display_name=row.display_name,
        url=row.url,
        credentials=row.credentials,
        ca_file=row.ca_file,
        items_per_second=row.items_per_second,
        timeout_s=row.timeout_s,
        ceiling=row.ceiling,
        catalog_id=row.catalog_id,
        etag=row.etag,
        create_time=row.create_time,
        update_time=row.update_time,
    )
