"""Sessions of browsers in PostgreSQL."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from blade_server.errors import StorageUnavailable
from blade_server.model.access import SESSION_IDLE_S, SESSION_LIFE_S, Kind, Session
from blade_server.storage import tables
from blade_server.storage.access import NO_WAIT
from blade_server.storage.database import Database

_session, _token = tables.web_session, tables.access_token
_MINUTE_S = 60.0


def _ago(seconds: float) -> object:
    return func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


class SessionStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, hash_: bytes, session: Session) -> datetime:
        """Stores a session; when it ends: at its own time, and after twelve hours at the latest."""
        latest = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, SESSION_LIFE_S)
        stored = insert(_session).values(
            hash=hash_,
            principal=session.principal,
            kind=session.kind,
            groups=sorted(session.groups),
            token_id=session.token_id,
            create_time=func.now(),
            use_time=func.now(),
            expire_time=func.least(latest, session.expire_time),
        )
        with self._database.begin() as connection:
            ends: datetime = connection.execute(stored.returning(_session.c.expire_time)).scalar_one()
        return ends

    def find(self, hash_: bytes) -> Session | None:
        """The session, which counts as used now, to the minute. None: it is over, or its token is no good any more."""
        good_token = (
            select(_token.c.token_id)
            .where(_token.c.token_id == _session.c.token_id, _token.c.revoke_time.is_(None))
            .where(or_(_token.c.expire_time.is_(None), _token.c.expire_time > func.now()))
        )
        live = (_session.c.expire_time > func.now(), _session.c.use_time > _ago(SESSION_IDLE_S))
        query = (
            select(_session, (_session.c.use_time < _ago(_MINUTE_S)).label("stale"))
            .where(_session.c.hash == hash_, *live)
            .where(or_(_session.c.token_id == "", good_token.exists()))
        )
        with self._database.begin() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if row.stale:
            self._used(hash_)
        return Session(
            principal=row.principal,
            kind=Kind(row.kind),
            groups=frozenset(row.groups),
            token_id=row.token_id,
            expire_time=row.expire_time,
        )

    def _used(self, hash_: bytes) -> None:
        """If that can be written at once: nobody waits for a note."""
        with suppress(StorageUnavailable), self._database.begin() as connection:
            connection.execute(text(NO_WAIT))
            connection.execute(update(_session).where(_session.c.hash == hash_).values(use_time=func.now()))

    def close(self, hash_: bytes) -> bool:
        """Ends a session. False: there is none."""
        with self._database.begin() as connection:
            return connection.execute(delete(_session).where(_session.c.hash == hash_)).rowcount > 0
