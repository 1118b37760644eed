"""Sources in PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from blade_server.errors import AlreadyExists, Conflict, NotFound, Precondition, Reason, check_may, meant
from blade_server.model import FINAL, Source, SourceStats
from blade_server.model.access import Caller, Deed, Scope
from blade_server.storage import audit, tables
from blade_server.storage.access import deed_of, lock_rights, take_grants
from blade_server.storage.codec import config_from, mapping_from
from blade_server.storage.costs import CostStore
from blade_server.storage.database import Database
from blade_server.storage.destinations import hold
from blade_server.storage.repeated import stored_before
from blade_server.storage.within import within

_source = tables.source
_SHOWN = 10
_NAMES = 1000
"""So many are looked through for one that a misspelt name was meant to be."""


def _from_row(row: Row[Any]) -> Source:
    return Source(
        name=row.name,
        display_name=row.display_name,
        data_type=row.data_type,
        enabled=row.enabled,
        config=config_from(row.config),
        mapping=mapping_from(row.mapping),
        stats=SourceStats(
            item_count=row.item_count, last_job_id=row.last_job_id, last_success_time=row.last_success_time
        ),
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
    )


def _columns(source: Source) -> dict[str, Any]:
    return {
        "display_name": source.display_name,
        "data_type": source.data_type,
        "enabled": source.enabled,
        "config": asdict(source.config),
        "mapping": asdict(source.mapping),
        "etag": secrets.token_hex(8),
        "update_time": func.now(),
    }


def _about(name: str) -> Deed:
    return Deed(about=f"source:{name}")


def _seen(scope: Scope) -> ColumnElement[bool]:
    return within(scope, _source.c.name, _source.c.data_type)


def _shown(seen: Scope) -> Select[Any]:
    """Sources as callers see them: a last job that is of the time of another data type may be none that he sees."""
    if seen.all:
        return select(_source)
    job = tables.job
    his = select(job.c.job_id).where(job.c.job_id == _source.c.last_job_id, within(seen, job.c.source, job.c.data_type))
    columns = [column for column in _source.c if column.name != "last_job_id"]
    return select(*columns, func.coalesce(his.scalar_subquery(), "").label("last_job_id"))


def _not_found(connection: Connection, name: str, seen: Scope) -> NotFound:
    names = connection.execute(select(_source.c.name).where(_seen(seen)).limit(_NAMES)).scalars().all()
    return NotFound(f"there is no source {name!r}{meant(name, names)}", reason=Reason.SOURCE_NOT_FOUND)


def _check_no_syncs(connection: Connection, name: str, way_out: str) -> None:
    """Raises Precondition if syncs read the source. Its row is locked, and new syncs wait for it."""
    sync = tables.sync
    names = connection.execute(select(sync.c.name).where(sync.c.source == name).order_by(sync.c.name)).scalars().all()
    if names:
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        raise Precondition(
            f"source {name!r} is read by the syncs {shown}; {way_out}",
            reason=Reason.SOURCE_IN_USE,
            metadata={"syncs": shown},
        )


class SourceStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.costs = CostStore(database)

    def add(self, source: Source, *, by: Caller, request_id: str = "", request_hash: str = "") -> Source:
        """Stores a new source and returns it with times and etag.

        The same `request_id` and `request_hash` again return what the first call stored. Raises AlreadyExists if the
        name is taken, Invalid if the request id was used with another hash.
        """
        values = {
            **_columns(source),
            "name": source.name,
            "request_id": by.own(request_id) or None,
            "request_hash": request_hash,
            "create_time": func.now(),
        }
        try:
            with self._database.begin() as connection:
                stored = self._replay(connection, request_id, request_hash, by)
                if stored is not None:
                    return stored
                hold(connection, source.config.destination)
                row = connection.execute(insert(_source).values(values).returning(_source)).one()
                audit.write(connection, by, _about(source.name))
                return _from_row(row)
        except IntegrityError as exc:
            with self._database.begin() as connection:  # two calls with one request id at the same moment
                stored = self._replay(connection, request_id, request_hash, by)
            if stored is not None:
                return stored
            raise AlreadyExists(f"a source named {source.name!r} exists; change that one or take another name") from exc

    def _replay(self, connection: Connection, request_id: str, request_hash: str, by: Caller) -> Source | None:
        asked = (request_id, request_hash)
        row = stored_before(connection, _shown(by.sees), _source, asked, by=by, what="source")
        if row is None:
            return None
        if not by.sees.covers(row.name, row.data_type):  # it was given another data type since
            raise _not_found(connection, row.name, by.sees)
        check_may(by, row.name, row.data_type, f"source {row.name!r}")
        return _from_row(row)

    def get(self, name: str, seen: Scope) -> Source:
        """Raises NotFound, also for one that may not be seen."""
        found = self._select(_shown(seen).where(_source.c.name == name, _seen(seen)))
        if not found:
            with self._database.begin() as connection:
                raise _not_found(connection, name, seen)
        return found[0]

    def data_types(self, seen: Scope) -> list[str]:
        """Those that sources have, for people who misspelt one; not all if there are very many."""
        query = select(_source.c.data_type).where(_seen(seen)).distinct().limit(_NAMES)
        with self._database.begin() as connection:
            return list(connection.execute(query).scalars())

    def by_data_type(self, data_type: str, seen: Scope) -> list[Source]:
        """The sources of a data type, by name."""
        query = _shown(seen).where(_source.c.data_type == data_type, _seen(seen))
        return self._select(query.order_by(_source.c.name))

    def named(self, names: Collection[str]) -> list[Source]:
        """Those of these names that there are."""
        return self._select(_shown(Scope(all=True)).where(_source.c.name.in_(sorted(names))))

    def all(self, seen: Scope) -> list[Source]:
        """Every source, by name."""
        return self._select(_shown(seen).where(_seen(seen)).order_by(_source.c.name))

    def page(self, after_name: str, limit: int, data_type: str, seen: Scope) -> list[Source]:
        """At most `limit` sources behind `after_name`, by name; `data_type` "": of all."""
        query = _shown(seen).where(_source.c.name > after_name, _seen(seen))
        query = query.order_by(_source.c.name).limit(limit)
        return self._select(query.where(_source.c.data_type == data_type) if data_type else query)

    def _select(self, query: Select[Any]) -> list[Source]:
        with self._database.begin() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def update(self, source: Source, expected_etag: str, *, by: Caller) -> Source:
        """Replaces everything but name, stats and creation time.

        Raises NotFound, Conflict; Precondition for another data type while syncs read it.
        """
        with self._database.begin() as connection:
            before = self._lock(connection, source.name, expected_etag, by)
            if before != source.data_type:
                _check_no_syncs(connection, source.name, "its data type cannot change: their items would be others")
            hold(connection, source.config.destination)
            connection.execute(update(_source).where(_source.c.name == source.name).values(_columns(source)))
            stored = _from_row(connection.execute(_shown(by.sees).where(_source.c.name == source.name)).one())
            audit.write(connection, by, _about(source.name))
            return stored

    def remove(self, name: str, etag: str = "", *, by: Caller) -> None:
        """With the grants on it.

        Raises NotFound, Conflict; Precondition while it has jobs that are not final, or syncs.
        """
        job = tables.job
        with self._database.begin() as connection:
            lock_rights(connection)
            self._lock(connection, name, etag, by)
            in_use = select(exists().where(job.c.source == name, job.c.status.not_in(FINAL)))
            if connection.execute(in_use).scalar_one():
                raise Precondition(
                    f"source {name!r} has jobs that are not final; cancel them or wait, then remove it",
                    reason=Reason.SOURCE_IN_USE,
                )
            _check_no_syncs(connection, name, "delete them first")
            connection.execute(delete(_source).where(_source.c.name == name))
            gone = take_grants(connection, f"source:{name}")
            taken = [replace(deed_of(grant), detail=f"{deed_of(grant).detail}, with the source") for grant in gone]
            audit.write_all(connection, [(by, deed) for deed in (_about(name), *taken)])

    def _lock(self, connection: Connection, name: str, etag: str, by: Caller) -> str:
        """Its data type as stored."""
        locked = select(_source.c.etag, _source.c.data_type).where(_source.c.name == name).with_for_update()
        stored = connection.execute(locked).one_or_none()
        if stored is None or not by.sees.covers(name, stored.data_type):
            raise _not_found(connection, name, by.sees)
        check_may(by, name, stored.data_type, f"source {name!r}")
        if etag and etag != stored.etag:
            raise Conflict(
                f"source {name!r} was changed by somebody else (etag {stored.etag}, not {etag}); read it again"
            )
        return str(stored.data_type)

    def count_items(self, name: str, items: int) -> None:
        """Adds to the items the source has brought into the catalog; a source that is gone is left alone."""
        with self._database.begin() as connection:
            connection.execute(
                update(_source)
                .where(_source.c.name == name)
                .values(item_count=_source.c.item_count + items, last_success_time=func.now())
            )
