"""The first connection to PostgreSQL: whether it can be used at all, and what stands in front of it.

What it refuses is told in one sentence, with its own reason and the way out.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import psycopg2
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from blade_server.errors import StorageUnavailable
from blade_server.storage import connect
from blade_server.storage.connect import Pooling, Target

log = logging.getLogger(__name__)

OLDEST = 13
"""The oldest release of PostgreSQL that BLADE runs on."""
START_PATIENCE_S = 30.0
_BETWEEN_ATTEMPTS_S = 0.25
_ROUNDS = 4
_NOT_READY = (
    *("is starting up", "in recovery mode", "is not yet accepting"),
    *("too many clients", "remaining connection", "too many connections", "no more connections allowed"),
)
_SPACE = "close others, or raise its max_connections, the role's CONNECTION LIMIT or the pooler's pool size"
_PRIMARY = "name the server that takes writes, or several with ?target_session_attrs=read-write"
_RIGHTS = (
    "as the owner of the tables GRANT USAGE ON SCHEMA, and SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA; who "
    "runs `blade migrate` needs CREATE ON SCHEMA, and owns the tables"
)
_WAYS_OUT = (
    (r"password authentication failed|no password supplied|auth failed", "check user and password in DATABASE_URL"),
    (r'role "[^"]*" (does not exist|is not permitted)|no such user', "check the user in DATABASE_URL, or CREATE ROLE"),
    (r'database "[^"]*" does not exist|no such database', "check the database in DATABASE_URL, or CREATE DATABASE"),
    (r"permission denied for database", "GRANT CONNECT ON DATABASE to the user of DATABASE_URL"),
    (r"does not support SSL|SSL required|no pg_hba.conf entry", "check sslmode in DATABASE_URL, and pg_hba.conf there"),
    (r"certificate|SSL error", "check sslmode and sslrootcert in DATABASE_URL"),
    (r"could not translate host name", "check the host in DATABASE_URL"),
    (r"too many c|remaining connection|no more connections", _SPACE),
    (r"session is (not )?read-(only|write)|read-only| 25006$", _PRIMARY),
    (r"configuration parameter|for parameter|cannot be set through", "check `options` in DATABASE_URL"),
    (r"invalid URI|connection option|invalid .*value|percent-encoded", "check what is behind the ? in DATABASE_URL"),
    (r"startup parameter|command-line options", "a pooler says so: set BLADE_DATABASE_POOLING=session or transaction"),
    (r"no schema has been selected| 3F000$", "CREATE SCHEMA for what search_path names, or GRANT USAGE ON it"),
    (r"permission denied|must be owner| 42501$", _RIGHTS),
)
"""By words of PostgreSQL, libpq or PgBouncer, or a SQLSTATE: libpq gives none for what is refused while connecting."""

_Result = TypeVar("_Result")


def probe(url: str, *, pooling: Pooling | None = None, listen_url: str = "") -> Target:
    """How to reach this PostgreSQL; `pooling` None: it is found out what stands in front of it.

    Raises StorageUnavailable, in one sentence, if it cannot be reached or used.
    """
    bare = Target(url=url, pooling=Pooling.SESSION)  # a pooler may refuse what others are connected with
    with in_words(bare), closing(patiently(lambda: _connected(bare))) as one:
        pid, release, encoding = _ask(
            one,
            "SELECT pg_backend_pid(), current_setting('server_version_num')::int / 10000, "
            "current_setting('server_encoding')",
        )
        _check(bare, release, encoding)
        if pooling is None:
            pooling = Pooling.NONE
            if pid != one.info.backend_pid:  # it is the pooler's number that was told when connecting
                with closing(patiently(lambda: _connected(bare))) as other:
                    pooling = _pooling(one, other)
        if pooling is Pooling.TRANSACTION:
            _check_transactions(one, bare)
    return replace(bare, pooling=pooling, listen_url=listen_url)


def _connected(target: Target) -> Any:
    connection = psycopg2.connect(**connect.arguments(target))
    connection.autocommit = True
    return connection


def patiently(connected: Callable[[], _Result]) -> _Result:
    """Waits for a PostgreSQL that is alive but not ready: just started, recovering, out of places."""
    deadline, told = time.monotonic() + START_PATIENCE_S, False
    while True:
        try:
            return connected()
        except (psycopg2.OperationalError, DBAPIError) as exc:
            if time.monotonic() > deadline or not any(words in str(exc) for words in _NOT_READY):
                raise
            if not told:
                told = True
                log.warning("PostgreSQL is not ready, trying again for %.0f s: %s", START_PATIENCE_S, _reason(exc))
        time.sleep(_BETWEEN_ATTEMPTS_S)


def _ask(connection: Any, question: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()


def _pooling(one: Any, other: Any) -> Pooling:
    """Two connections that meet one backend, or one that meets two, have none of their own.

    In this order round robin is seen through, too, however many backends there are.
    """
    backends: dict[int, int] = {}
    for connection in (one, other, other, one) * _ROUNDS:
        (pid,) = _ask(connection, "SELECT pg_backend_pid()")
        if backends.setdefault(id(connection), pid) != pid or len(set(backends.values())) < len(backends):
            return Pooling.TRANSACTION
    return Pooling.SESSION


def _check_transactions(connection: Any, target: Target) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("ROLLBACK")
    except psycopg2.Error as exc:
        raise StorageUnavailable(
            f"the pooler at {target.place} refuses transactions; set its pool_mode to session or transaction"
        ) from exc


def _check(target: Target, release: int, encoding: str) -> None:
    if release < OLDEST:
        raise StorageUnavailable(f"PostgreSQL at {target.place} is release {release}; BLADE needs {OLDEST} or later")
    if encoding != "UTF8":
        raise StorageUnavailable(
            f"the database {target.place} is encoded in {encoding}; BLADE needs UTF8: CREATE DATABASE ... "
            "ENCODING 'UTF8' TEMPLATE template0, and name that one in DATABASE_URL"
        )


def check_bell(target: Target) -> None:
    """Nobody hears what is rung elsewhere: whether both URLs lead to the same tables. Raises StorageUnavailable."""
    if not target.listen_url or target.bell is None:
        return
    found = []
    for each in (target, target.bell):
        engine = connect.engine(each, poolclass=NullPool)
        with in_words(each), patiently(engine.connect) as connection:
            found.append(connection.execute(text("SELECT database_id FROM about")).scalar_one())
    if found[0] != found[1]:
        raise StorageUnavailable(
            f"BLADE_LISTEN_DATABASE_URL leads to {target.bell.place}, and DATABASE_URL to other tables at "
            f"{target.place}; both must lead to the same ones"
        )


@contextmanager
def in_words(target: Target) -> Iterator[None]:
    """What PostgreSQL refuses in here becomes StorageUnavailable, in one sentence with the way out."""
    try:
        yield
    except (psycopg2.Error, DBAPIError) as exc:
        cause = exc.orig if isinstance(exc, DBAPIError) else exc
        reason = _reason(cause)
        known = f"{reason} {getattr(cause, 'pgcode', None)}"
        for words, way_out in _WAYS_OUT:
            if re.search(words, known):
                raise StorageUnavailable(f"PostgreSQL {_at(target)}: {reason}; {way_out}") from exc
        if not isinstance(cause, psycopg2.OperationalError):
            raise
        raise StorageUnavailable(
            f"PostgreSQL {_at(target)} does not answer; check DATABASE_URL and that the server runs ({reason})"
        ) from exc


def _at(target: Target) -> str:
    try:
        return f"at {target.place}"
    except psycopg2.Error:  # its URL is what is wrong
        return "of DATABASE_URL"


def _reason(exc: BaseException | None) -> str:
    """The driver's own words in one line, without the statement and without what stands in front of PostgreSQL's."""
    exc = exc.orig if isinstance(exc, DBAPIError) else exc
    diagnosis = getattr(getattr(exc, "diag", None), "message_primary", None)
    words = " ".join(str(diagnosis or exc).split())
    return re.sub(r"^connection to server \S+ .* failed: (?:FATAL|ERROR): ", "", words)
