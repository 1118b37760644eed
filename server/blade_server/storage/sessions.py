"""Sessions of browsers in PostgreSQL, and the codes that open one, each with its entry of the audit log."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from blade_server.errors import StorageUnavailable
from blade_server.model.access import (
    CODE_LIFE_S,
    SESSION_IDLE_S,
    SESSION_LIFE_S,
    Caller,
    Deed,
    Kind,
    Principal,
    Session,
)
from blade_server.storage import audit, tables
from blade_server.storage.access import NO_WAIT
from blade_server.storage.database import Database

SIGN_IN, SIGN_OUT = "web/SignIn", "web/SignOut"
"""Their methods in the audit log."""
_session, _token, _code = tables.web_session, tables.access_token, tables.sign_in_code
_MINUTE_S = 60.0
_ID_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A new session: whose, until when, and whether another one has ended for it."""

    principal: str
    expire_time: datetime
    ended_another: bool


def _ago(seconds: float) -> object:
    return func.now() - _seconds(seconds)


def _seconds(seconds: float) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


class SessionStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, hash_: bytes, session: Session, *, how: str, address: str, instead_of: bytes | None) -> Opened:
        """Stores a session, which ends at its own time, and after twelve hours at the latest.

        `how` somebody has signed in and from which `address` is for the audit log; `instead_of`: the one that ends.
        """
        with self._database.begin() as connection:
            return _open(connection, hash_, session, how=how, address=address, instead_of=instead_of)

    def add_code(self, hash_: bytes, session: Session, *, by: Caller) -> datetime:
        """Stores a code that opens that session; until when it is good."""
        stored = insert(_code).values(
            hash=hash_,
            principal=session.principal,
            kind=session.kind,
            groups=sorted(session.groups),
            token_id=session.token_id,
            session_expire_time=session.expire_time,
            expire_time=func.now() + _seconds(CODE_LIFE_S),
        )
        with self._database.begin() as connection:
            ends: datetime = connection.execute(stored.returning(_code.c.expire_time)).scalar_one()
            audit.write(connection, by, Deed(about=f"code:{_id(hash_)}"))
        return ends

    def redeem(self, code: bytes, hash_: bytes, *, address: str, instead_of: bytes | None) -> Opened | None:
        """Opens the session of a code, whose hash is `code`, and forgets the code. None: there is none, or it is over.

        `address` and `instead_of` as in `open`.
        """
        good = (_code.c.expire_time > func.now(), func.coalesce(_code.c.session_expire_time > func.now(), True))
        taken = delete(_code).where(_code.c.hash == code, *good).returning(_code)
        with self._database.begin() as connection:
            row = connection.execute(taken).one_or_none()
            if row is None:
                return None
            session = _session_from(row, row.session_expire_time)
            how = f"by code {_id(code)}"
            return _open(connection, hash_, session, how=how, address=address, instead_of=instead_of)

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
        return _session_from(row, row.expire_time)

    def _used(self, hash_: bytes) -> None:
        """If that can be written at once: nobody waits for a note."""
        with suppress(StorageUnavailable), self._database.begin() as connection:
            connection.execute(text(NO_WAIT))
            connection.execute(update(_session).where(_session.c.hash == hash_).values(use_time=func.now()))

    def close(self, hash_: bytes, *, address: str) -> bool:
        """Ends a session; `address` is for the audit log. False: there is none."""
        with self._database.begin() as connection:
            ended = _ended(connection, hash_, address, "")
            if ended is not None:
                audit.write(connection, *ended)
        return ended is not None


def _open(
    connection: Connection, hash_: bytes, session: Session, *, how: str, address: str, instead_of: bytes | None
) -> Opened:
    stored = insert(_session).values(
        hash=hash_,
        principal=session.principal,
        kind=session.kind,
        groups=sorted(session.groups),
        token_id=session.token_id,
        create_time=func.now(),
        use_time=func.now(),
        expire_time=func.least(func.now() + _seconds(SESSION_LIFE_S), session.expire_time),
    )
    ended = None if instead_of is None else _ended(connection, instead_of, address, "signed in anew")
    ends: datetime = connection.execute(stored.returning(_session.c.expire_time)).scalar_one()
    principal = Principal(name=session.principal, kind=session.kind)
    by = Caller(principal=principal, method=SIGN_IN, address=address)
    signed_in = (by, Deed(about=f"session:{_id(hash_)}", detail=how))
    audit.write_all(connection, [signed_in] if ended is None else [ended, signed_in])
    return Opened(principal=session.principal, expire_time=ends, ended_another=ended is not None)


def _ended(connection: Connection, hash_: bytes, address: str, why: str) -> tuple[Caller, Deed] | None:
    """What the audit log is to be told, if there was such a session."""
    gone = delete(_session).where(_session.c.hash == hash_).returning(_session.c.principal)
    name = connection.execute(gone).scalar_one_or_none()
    if name is None:
        return None
    by = Caller(principal=Principal(name=name, kind=Kind.SESSION), method=SIGN_OUT, address=address)
    return by, Deed(about=f"session:{_id(hash_)}", detail=why)


def _id(hash_: bytes) -> str:
    """By which the audit log knows a session or a code: nobody can sign in with it."""
    return hash_[:_ID_BYTES].hex()


def _session_from(row: Row[Any], ends: datetime | None) -> Session:
    return Session(
        principal=row.principal,
        kind=Kind(row.kind),
        groups=frozenset(row.groups),
        token_id=row.token_id,
        expire_time=ends,
    )
