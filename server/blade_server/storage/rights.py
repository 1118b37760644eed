"""Changes of tokens and grants in PostgreSQL, one at a time over all servers, so that an admin is always left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from blade_server.errors import NotFound, Precondition, Reason
from blade_server.model.access import EVERYTHING, Caller, Deed, Grant, Kind, Role, Token
from blade_server.storage import audit, tables
from blade_server.storage.access import deed_of, grant_from, lock_rights, token_from
from blade_server.storage.database import Database

MAX_GOOD_TOKENS = 2
_token, _grant, _source = tables.access_token, tables.access_grant, tables.source


class RightsStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_token(self, token: Token, hash_: bytes, grants: Sequence[Grant], *, by: Caller) -> Token:
        """Stores a token with the grants of its principal; those that he has already stay as they are.

        Raises NotFound for the scope of a grant, Precondition if the principal has two good ones.
        """
        with self._changing() as connection:
            his = select(_token.c.token_id).where(
                _token.c.principal == token.principal, _token.c.kind == Kind.TOKEN, _is_good()
            )
            good = connection.execute(his.order_by(_token.c.token_id)).scalars().all()
            if len(good) >= MAX_GOOD_TOKENS:
                raise Precondition(
                    f"{token.principal!r} has {len(good)} tokens that are good ({', '.join(good)}); revoke one first",
                    reason=Reason.ACCESS_STATE,
                )
            granted = [_add_grant(connection, grant, by) for grant in grants]
            stored = insert(_token).values(
                token_id=token.token_id,
                principal=token.principal,
                kind=token.kind,
                hash=hash_,
                description=token.description,
                created_by=by.principal.name,
                create_time=func.now(),
                expire_time=token.expire_time,
            )
            row = connection.execute(stored.returning(_token)).one()
            deeds = [_of_token(row), *(deed_of(grant) for grant, is_new in granted if is_new)]
            audit.write_all(connection, [(by, deed) for deed in deeds])
            return token_from(row)

    def tokens(self, *, after: str, limit: int, principal: str) -> list[Token]:
        """At most `limit` tokens behind the id `after`, by id; `principal` "": of all."""
        query = select(_token).where(_token.c.token_id > after).order_by(_token.c.token_id).limit(limit)
        return list(map(token_from, self._rows(query.where(_token.c.principal == principal) if principal else query)))

    def revoke_token(self, token_id: str, *, by: Caller, reason: str, needs_admin: bool) -> Token:
        """Idempotent. Raises NotFound; Precondition if nobody could give access any more and somebody must."""
        with self._changing() as connection:
            stored = connection.execute(select(_token).where(_token.c.token_id == token_id)).one_or_none()
            if stored is None:
                raise NotFound(f"there is no token {token_id!r}", reason=Reason.ACCESS_NOT_FOUND)
            if stored.revoke_time is not None:
                return token_from(stored)
            changed = update(_token).where(_token.c.token_id == token_id).values(revoke_time=func.now())
            with _keeping_an_admin(connection, needs_admin):
                row = connection.execute(changed.returning(_token)).one()
            audit.write(connection, by, replace(_of_token(row), reason=reason))
            return token_from(row)

    def add_grant(self, grant: Grant, *, by: Caller, reason: str) -> Grant:
        """The grant as stored, maybe by an earlier call. Raises NotFound if its scope names nothing that there is."""
        with self._changing() as connection:
            stored, is_new = _add_grant(connection, grant, by)
            if is_new:
                audit.write(connection, by, replace(deed_of(stored), reason=reason))
            return stored

    def grants(self, *, after: str, limit: int, principal: str, group: str) -> list[Grant]:
        """At most `limit` grants behind the id `after`, by id; `principal` and `group` "": of all."""
        query = select(_grant).where(_grant.c.grant_id > after).order_by(_grant.c.grant_id).limit(limit)
        if principal:
            query = query.where(_grant.c.principal == principal)
        if group:
            query = query.where(_grant.c.group_name == group)
        return list(map(grant_from, self._rows(query)))

    def revoke_grant(self, grant_id: str, *, by: Caller, reason: str, needs_admin: bool) -> None:
        """Raises NotFound; Precondition if nobody could give access any more and somebody must."""
        with self._changing() as connection:
            gone = delete(_grant).where(_grant.c.grant_id == grant_id).returning(_grant)
            with _keeping_an_admin(connection, needs_admin):
                row = connection.execute(gone).one_or_none()
                if row is None:
                    raise NotFound(f"there is no grant {grant_id!r}", reason=Reason.ACCESS_NOT_FOUND)
            audit.write(connection, by, replace(deed_of(grant_from(row)), reason=reason))

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """A transaction beside which nobody else changes tokens or grants."""
        with self._database.begin() as connection:
            lock_rights(connection)
            yield connection

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with self._database.begin() as connection:
            return connection.execute(query).all()


def _is_good() -> ColumnElement[bool]:
    # Not now(): the transaction may have waited for the lock.
    over = _token.c.expire_time <= func.clock_timestamp()
    return and_(_token.c.revoke_time.is_(None), or_(_token.c.expire_time.is_(None), ~over))


def _of_token(row: Row[Any]) -> Deed:
    until = "for ever" if row.expire_time is None else f"until {row.expire_time.isoformat(timespec='seconds')}"
    return Deed(about=f"token:{row.token_id}", detail=f"of {row.principal}, {until}")


def _add_grant(connection: Connection, grant: Grant, by: Caller) -> tuple[Grant, bool]:
    """The grant as stored, and whether it is new."""
    _check_scope(connection, grant.scope)
    key = {
        "principal": grant.principal,
        "group_name": grant.group,
        "role": grant.role.name,
        "scope": grant.scope,
        "ceiling": grant.ceiling,
    }
    values = {**key, "grant_id": grant.grant_id, "created_by": by.principal.name, "create_time": func.now()}
    added = connection.execute(insert(_grant).values(values).on_conflict_do_nothing(index_elements=list(key)))
    return grant_from(connection.execute(select(_grant).filter_by(**key)).one()), added.rowcount == 1


def _check_scope(connection: Connection, scope: str) -> None:
    """Raises NotFound for a source, or a data type, that there is not."""
    kind, _, name = scope.partition(":")
    if scope == EVERYTHING:
        return
    column, what = (
        (_source.c.name, f"there is no source {name!r}")
        if kind == "source"
        else (_source.c.data_type, f"no source has the data type {name!r}")
    )
    if not connection.execute(select(exists().where(column == name))).scalar_one():
        raise NotFound(what, reason=Reason.SOURCE_NOT_FOUND)


@contextmanager
def _keeping_an_admin(connection: Connection, needed: bool) -> Iterator[None]:
    """Raises Precondition if what is done inside takes the last one away, and one is needed."""
    was_there = needed and _has_admin(connection)
    yield
    if was_there and not _has_admin(connection):
        raise Precondition(
            "nobody could give access any more; make another ADMIN first, or set BLADE_ADMINS",
            reason=Reason.ACCESS_STATE,
        )


def _has_admin(connection: Connection) -> bool:
    """Counts an ADMIN whose token is good, a group's, and one who never had a token: he signs in by other means."""
    his = _token.c.principal == _grant.c.principal
    signs_in = or_(_grant.c.group_name != "", exists().where(his, _is_good()), ~exists().where(his))
    admin = exists().where(_grant.c.role == Role.ADMIN.name, _grant.c.scope == EVERYTHING, signs_in)
    operator = exists().where(_token.c.kind == Kind.ADMIN, _is_good())
    return bool(connection.execute(select(or_(admin, operator))).scalar_one())
