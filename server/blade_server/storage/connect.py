"""Connections to PostgreSQL are made here and nowhere else: for the pool, migrations, the bell and GetJob's quick way.

What a URL asks for goes before what BLADE sets by itself. URLs are read by libpq's rules. Where a pooler stands in
front of PostgreSQL, which knows no startup options, the same is set once connected, or at the start of a transaction.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import unquote

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_WRITE
from sqlalchemy import Connection, Engine, create_engine, event

_CONNECT_TIMEOUT_S = 5

_ARGUMENTS = {
    "connect_timeout": _CONNECT_TIMEOUT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # Keepalives are not sent while data waits to be acknowledged: without this a query on its way when the other
    # machine vanishes holds its thread, and the beat with it, for a quarter of an hour.
    "tcp_user_timeout": 20_000,
}
_BALANCES = 160000
"""The libpq that can try several hosts in another order each time."""
_SETTINGS = {"TimeZone": "UTC"}
_SHORT = {
    "statement_timeout": "60000",
    # All transactions are short. A server that is stopped in the middle of one must not hold its locks longer than its
    # leases, or nobody could take its jobs over.
    "idle_in_transaction_session_timeout": "5000",
}

_URL = re.compile(r"\w+(?:\+psycopg2)?://(?:([^:/?#@]*)(?::([^@]*))?@)?([^?]*)\??(.*)", re.DOTALL)
"""User, password, place and query: a password may hold everything but an @."""
_OPTION = re.compile(r"(?:-c\s*|--)([\w.-]+)=((?:\\.|[^\\\s])*)\s*", re.DOTALL)

Ready = Callable[[Any, int], bool]
"""Waits until an asynchronous connection in this state (POLL_READ, POLL_WRITE) can go on; False: too late."""


class Pooling(Enum):
    """What stands between BLADE and PostgreSQL."""

    NONE = "none"
    SESSION = "session"
    """A pooler that gives each connection a backend of its own."""
    TRANSACTION = "transaction"
    """A pooler that gives each transaction any backend: nothing of a session lasts, LISTEN hears nothing."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One PostgreSQL, and how it is reached."""

    url: str = field(repr=False)  # it may hold a password
    pooling: Pooling = Pooling.NONE
    listen_url: str = field(default="", repr=False)
    """The same database without a pooler in transaction mode, for LISTEN; empty: `url`."""

    @classmethod
    def of(cls, target: Target | str) -> Target:
        """A URL alone is that of a PostgreSQL without a pooler."""
        return cls(url=target) if isinstance(target, str) else target

    @property
    def bell(self) -> Target | None:
        """Where the bell is heard; None: nowhere."""
        if self.listen_url:
            return Target(url=self.listen_url, pooling=Pooling.SESSION)
        return None if self.pooling is Pooling.TRANSACTION else self

    @property
    def place(self) -> str:
        """Where it is, without user and password, for people."""
        given = parsed(self.url)
        return f"{given.get('host') or given.get('hostaddr') or 'local'}/{given.get('dbname') or given.get('user', '')}"


def parsed(url: str) -> dict[str, str]:
    """The URL as libpq takes it, by the names of its parameters. Raises psycopg2.ProgrammingError without a secret."""
    found = _URL.fullmatch(url)
    if found is None:
        raise psycopg2.ProgrammingError("it is not a URL")
    user, password, place, query = found.groups()
    parts = query.split("&")
    hosts = [unquote(part.removeprefix("host=")) for part in parts if part.startswith("host=")]
    if len(hosts) > 1:  # as SQLAlchemy writes several: each with its port
        place = ",".join(hosts) + place
        query = "&".join(part for part in parts if not part.startswith("host="))
    try:
        given: dict[str, str] = psycopg2.extensions.parse_dsn(f"postgresql://{place}?{query}")
    except psycopg2.ProgrammingError as exc:
        reason, encoded, _ = str(exc).strip().removeprefix("invalid dsn: ").partition("percent-encoded")
        raise psycopg2.ProgrammingError(reason + encoded) from None  # behind that may stand a password
    named = {"user": user, "password": password}
    return {**{name: unquote(value) for name, value in named.items() if value}, **given}


def arguments(target: Target, *, name: str = "blade", short: bool = True) -> dict[str, Any]:
    """What psycopg2 connects with. `name` is what PostgreSQL shows; `short`: no statement takes long."""
    given = parsed(target.url)
    options = ""  # not absent, or libpq takes PGOPTIONS, which a pooler refuses
    if target.pooling is Pooling.NONE:
        ours = " ".join(f"-c {name}={value}" for name, value in _ours(short).items())
        options = f"{ours} {given.get('options', '')}".strip()
    return {**_ARGUMENTS, "application_name": name, **given, "options": options}


def _ours(short: bool) -> dict[str, str]:
    return {**_SETTINGS, **(_SHORT if short else {})}


def settings(target: Target, *, short: bool = True) -> dict[str, str]:
    """What `arguments` ask for as options, one by one. Raises psycopg2.ProgrammingError for what is no setting."""
    options = parsed(target.url).get("options", "").strip()
    found, end = {}, 0
    while end < len(options):
        option = _OPTION.match(options, end)
        if option is None:
            raise psycopg2.ProgrammingError(
                f"options {options[end:]!r} cannot be set through a pooler: only -c NAME=VALUE"
            )
        found[option[1].replace("-", "_")] = re.sub(r"\\(.)", r"\1", option[2], flags=re.DOTALL)
        end = option.end()
    return {**_ours(short), **found}


def _setting(wanted: Mapping[str, str], *, local: bool) -> tuple[str, tuple[str, ...]]:
    """One statement for all."""
    each = ", ".join(f"set_config(%s, %s, {str(local).lower()})" for _ in wanted)
    return f"SELECT {each}", tuple(part for pair in wanted.items() for part in pair)


def local_settings(target: Target) -> tuple[str, tuple[str, ...]]:
    """A statement, and its values, that sets for one transaction what a connection was not given; empty: nothing."""
    return _setting(settings(target), local=True) if target.pooling is Pooling.TRANSACTION else ("", ())


def engine(target: Target, *, short: bool = True, **options: Any) -> Engine:
    """An SQLAlchemy engine whose connections are made with `arguments`. Connects to nothing yet.

    With a pooler in transaction mode what is asked for holds within transactions only.
    """
    made_with = arguments(target, short=short)
    if target.pooling is Pooling.NONE:
        return create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(**made_with), **options)
    wanted = settings(target, short=short)

    def connected() -> Any:
        connection = psycopg2.connect(**made_with)
        if target.pooling is Pooling.SESSION:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(*_setting(wanted, local=False))
            connection.autocommit = False
        return connection

    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(*_setting(wanted, local=True))

    made = create_engine("postgresql+psycopg2://", creator=connected, **options)
    if target.pooling is Pooling.TRANSACTION:
        event.listen(made, "begin", begun)
    return made


def asynchronous(target: Target, ready: Ready, *, name: str = "blade") -> Any:
    """A psycopg2 connection that never blocks, once it is made. Raises psycopg2.Error, and what `ready` raises.

    With a pooler in transaction mode nothing is set.
    """
    made_with = arguments(target, name=name)
    if "," in made_with.get("host", "") and psycopg2.extensions.libpq_version() >= _BALANCES:
        # Not made by turns, it would wait for ever for a first one that is silent: connect_timeout is not kept here.
        made_with = {"load_balance_hosts": "random", **made_with}
    connection = psycopg2.connect(**made_with, async_=True)
    try:
        finish(connection, ready)
        if target.pooling is Pooling.SESSION:
            with connection.cursor() as cursor:
                cursor.execute(*_setting(settings(target), local=False))
                finish(connection, ready)
    except BaseException:
        connection.close()
        raise
    return connection


def finish(connection: Any, ready: Ready) -> None:
    """Drives what an asynchronous connection is doing to its end. Raises psycopg2.OperationalError if it is late."""
    while (state := connection.poll()) != POLL_OK:
        if not ready(connection, state):
            raise psycopg2.OperationalError("no answer in time")


def within(seconds: float) -> Ready:
    """Ready until so many seconds from now; blocks."""
    deadline_s = time.monotonic() + seconds

    def ready(connection: Any, state: int) -> bool:
        watched = select.poll()
        watched.register(connection, select.POLLOUT if state == POLL_WRITE else select.POLLIN)
        return bool(watched.poll(max(0.0, deadline_s - time.monotonic()) * 1000))

    return ready
