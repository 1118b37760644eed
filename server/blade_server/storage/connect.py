"""Connections to PostgreSQL are made here and nowhere else: for the pool, migrations, the bell and GetJob's quick way.

What a URL asks for goes before what BLADE sets by itself; `options` of both are joined.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg2
import psycopg2.extensions
from psycopg2.extensions import POLL_OK, POLL_WRITE
from sqlalchemy import Engine, create_engine, make_url

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
_SETTINGS = "-c timezone=UTC"
_SHORT = (
    "-c statement_timeout=60000 "
    # All transactions are short. A server that is stopped in the middle of one must not hold its locks longer than its
    # leases, or nobody could take its jobs over.
    "-c idle_in_transaction_session_timeout=5000"
)

Ready = Callable[[Any, int], bool]
"""Waits until an asynchronous connection in this state (POLL_READ, POLL_WRITE) can go on; False: too late."""


def normalised(url: str) -> str:
    """The URL with the driver named: `postgres://` is unknown to SQLAlchemy, `postgresql://` means psycopg 3 in 2.1."""
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg2://" + url.removeprefix(scheme)
    return url


def arguments(url: str, *, name: str = "blade", short: bool = True) -> dict[str, Any]:
    """What psycopg2 connects with. `name` is what PostgreSQL shows; `short`: no statement takes long."""
    target = make_url(normalised(url))
    _, given = target.get_dialect()().create_connect_args(target)
    settings = [_SETTINGS, *([_SHORT] if short else []), *([given["options"]] if "options" in given else [])]
    return {**_ARGUMENTS, "application_name": name, **given, "options": " ".join(settings)}


def engine(url: str, *, short: bool = True, **options: Any) -> Engine:
    """An SQLAlchemy engine whose connections are made with `arguments`. Connects to nothing yet."""
    made_with = arguments(url, short=short)
    return create_engine(normalised(url), creator=lambda: psycopg2.connect(**made_with), **options)


def asynchronous(url: str, ready: Ready, *, name: str = "blade") -> Any:
    """A psycopg2 connection that never blocks, once it is made. Raises psycopg2.Error, and what `ready` raises."""
    connection = psycopg2.connect(**arguments(url, name=name), async_=True)
    try:
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
