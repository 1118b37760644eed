"""Whose items are whose: a data type in a destination belongs to one sync, or to several that each have a scope."""

from __future__ import annotations

from sqlalchemy import Connection, select, text

from blade_server.errors import AlreadyExists, Conflict, NotFound, Reason
from blade_server.model.access import Caller
from blade_server.model.sync import Sync
from blade_server.storage import tables
from blade_server.storage.database import LOCKED

PLACES_LOCK = 0x424C414445504C
_sync, _source = tables.sync, tables.source


def lock_places(connection: Connection) -> None:
    """Until the transaction ends nobody else gives a sync a name or a place. Before any row is locked."""
    connection.execute(text(f"SELECT {LOCKED}"), {"lock": PLACES_LOCK})


def hold_source(connection: Connection, sync: Sync) -> None:
    """Keeps RemoveSource and UpdateSource out until the sync is stored. Raises NotFound, Conflict."""
    query = select(_source.c.data_type).where(_source.c.name == sync.spec.source).with_for_update(key_share=True)
    data_type = connection.execute(query).scalar()
    if data_type is None:
        raise NotFound(f"source {sync.spec.source!r} was removed meanwhile", reason=Reason.SOURCE_NOT_FOUND)
    if data_type != sync.data_type:
        raise Conflict(f"source {sync.spec.source!r} was given the data type {data_type!r} meanwhile; call again")


def check_place(connection: Connection, sync: Sync, by: Caller) -> None:
    """Raises AlreadyExists if another sync writes the same items."""
    spec = sync.spec
    others = select(_sync.c.name, _sync.c.source, _sync.c.data_type, _sync.c.scope).where(
        _sync.c.destination == spec.destination, _sync.c.data_type == sync.data_type, _sync.c.name != sync.name
    )
    for other in connection.execute(others.order_by(_sync.c.name)):
        if spec.scope and other.scope and spec.scope != other.scope:
            continue
        seen = by.sees.covers(other.source, other.data_type)
        named = f"sync {other.name!r}" if seen else "another sync"
        raise AlreadyExists(
            f"{named} writes the items of data type {sync.data_type!r} in destination {spec.destination!r}; take "
            "another destination, or, if no item id belongs to both, give each of the two a scope of its own",
            reason=Reason.SYNC_EXISTS,
            metadata={"sync": other.name} if seen else {},
        )
