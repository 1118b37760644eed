"""Tokens and grants in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, literal_column, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from blade_server.errors import StorageUnavailable
from blade_server.model.access import Caller, Deed, Grant, Kind, Role, Token
from blade_server.storage import audit, tables
from blade_server.storage.database import LOCKED, Database

RIGHTS_LOCK = 0x424C4144455249
NO_WAIT = "SET LOCAL lock_timeout = '100ms'"
"""For a transaction that waits for no lock."""
_token, _grant = tables.access_token, tables.access_grant


def token_from(row: Row[Any]) -> Token:
    """A row of `access_token`, without its hash."""
    return Token(
        token_id=row.token_id,
        principal=row.principal,
        kind=Kind(row.kind),
        description=row.description,
        created_by=row.created_by,
        create_time=row.create_time,
        expire_time=row.expire_time,
        last_use_time=row.last_use_time,
        revoke_time=row.revoke_time,
    )


def grant_from(row: Row[Any]) -> Grant:
    """A row of `access_grant`."""
    return Grant(
        grant_id=row.grant_id,
        principal=row.principal,
        group=row.group_name,
        role=Role[row.role],
        scope=row.scope,
        ceiling=row.ceiling,
        created_by=row.created_by,
        create_time=row.create_time,
    )


def _of(connection: Connection, principal: str, groups: Collection[str]) -> tuple[Grant, ...]:
    his = or_(_grant.c.principal == principal, _grant.c.group_name.in_(sorted(filter(None, groups))))
    return tuple(map(grant_from, connection.execute(select(_grant).where(his).order_by(_grant.c.grant_id))))


def lock_rights(connection: Connection) -> None:
    """Until the transaction ends nobody else changes tokens or grants."""
    connection.execute(text(f"SELECT {LOCKED}"), {"lock": RIGHTS_LOCK})


def deed_of(grant: Grant) -> Deed:
    """A grant that was given or taken away, for the audit log."""
    whose = grant.principal or f"group {grant.group}"
    upto = f" up to {grant.ceiling}" if grant.ceiling else ""
    return Deed(about=f"grant:{grant.grant_id}", detail=f"{grant.role.name} on {grant.scope}{upto} for {whose}")


def take_grants(connection: Connection, scope: str) -> list[Grant]:
    """Takes away the grants on something that goes, so that they are not on what comes under its name later."""
    gone = delete(_grant).where(_grant.c.scope == scope).returning(_grant)
    return sorted(map(grant_from, connection.execute(gone)), key=lambda grant: grant.grant_id)


class AccessStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def token(self, token_id: str) -> tuple[Token, bytes, Sequence[Grant]] | None:
        """A token that is neither revoked nor over, its hash, and the grants of its principal. None: there is none."""
        good = (_token.c.token_id == token_id, _token.c.revoke_time.is_(None))
        query = select(_token).where(*good, or_(_token.c.expire_time.is_(None), _token.c.expire_time > func.now()))
        with self._database.begin() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else (token_from(row), bytes(row.hash), _of(connection, row.principal, ()))

    def grants_of(self, principal: str, groups: Collection[str]) -> Sequence[Grant]:
        """The grants of a principal and of groups."""
        with self._database.begin() as connection:
            return _of(connection, principal, groups)

    def has_operator(self) -> bool:
        """Whether some token of the servers' own operator is good, or was a day ago: a server renews its own late if
        PostgreSQL was away for long.
        """
        lately = or_(_token.c.expire_time.is_(None), _token.c.expire_time > func.now() - timedelta(days=1))
        query = select(exists().where(_token.c.kind == Kind.ADMIN, _token.c.revoke_time.is_(None), lately))
        with self._database.read() as connection:
            return bool(connection.execute(query).scalar_one())

    def used(self, token_id: str) -> None:
        """Keeps when a token was used last, to the minute, if that can be written at once: nobody waits for a note."""
        stale = or_(
            _token.c.last_use_time.is_(None), _token.c.last_use_time < func.now() - func.make_interval(0, 0, 0, 0, 0, 1)
        )
        with suppress(StorageUnavailable), self._database.begin() as connection:
            connection.execute(text(NO_WAIT))
            connection.execute(
                update(_token).where(_token.c.token_id == token_id, stale).values(last_use_time=func.now())
            )

    def admit(self, token: Token, hash_: bytes, *, lifetime_s: float | None = None, by: Caller | None = None) -> bool:
        """Stores a token of the server's own operator, in place of one with the same id. False: that one was revoked,
        and stays so.

        `lifetime_s`: it ends after so long by PostgreSQL's clock, unless it is renewed. Those that have ended so go.
        `by`: who lets it in, for the audit log, if it was not in yet; None: the log is not told.
        """
        values = {
            "principal": token.principal,
            "kind": token.kind,
            "hash": hash_,
            "description": token.description,
            "create_time": func.now(),
            "expire_time": token.expire_time if lifetime_s is None else func.now() + timedelta(seconds=lifetime_s),
        }
        stored = (
            insert(_token)
            .values(token_id=token.token_id, **values)
            .on_conflict_do_update(
                index_elements=[_token.c.token_id], set_=values, where=_token.c.revoke_time.is_(None)
            )
        )
        with self._database.begin() as connection:
            connection.execute(delete(_token).where(_token.c.kind == Kind.ADMIN, _token.c.expire_time < func.now()))
            is_new = connection.execute(stored.returning(literal_column("xmax = 0"))).scalar_one_or_none()
            if is_new and by is not None:
                deed = Deed(about=f"token:{token.token_id}", detail=f"of {token.principal}, who may do everything")
                audit.write(connection, by, deed)
        return is_new is not None

    def renew(self, token_id: str, lifetime_s: float) -> bool:
        """Lets a token live so long from now on. False: it is not there any more."""
        longer = func.now() + timedelta(seconds=lifetime_s)
        with self._database.begin() as connection:
            done = connection.execute(update(_token).where(_token.c.token_id == token_id).values(expire_time=longer))
            return done.rowcount > 0

    def dismiss(self, token_id: str) -> None:
        """Forgets a token of the server's own operator."""
        with self._database.begin() as connection:
            connection.execute(delete(_token).where(_token.c.token_id == token_id))
