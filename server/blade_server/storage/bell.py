"""Hears the bell: one connection that LISTENs for the ids of changed jobs, in a thread of its own.

NOTIFY is only a bell. Rings get lost whenever the connection breaks (a restart of PostgreSQL swallows them), so after
every connect the listener says that anything may have changed. Behind a pooler in transaction mode it hears nothing and
says so every second.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_READ, POLL_WRITE

from blade_server.storage import connect
from blade_server.storage.clock import NOW, Clock
from blade_server.storage.connect import Target
from blade_server.storage.database import BELL

log = logging.getLogger(__name__)

MAX_BACKOFF_S = 5.0
_MIN_BACKOFF_S = 0.1
POLL_S = 1.0
"""So often anything may have changed where no bell is heard."""


class Listener:
    """Listens until it is stopped, and reconnects for ever.

    The connection is asynchronous (psycopg2's `async_`), so nothing blocks without a time limit: a half-open TCP
    connection is found by a ping, and a stop is heard in any state but one: while libpq resolves a host name.
    """

    def __init__(
        self,
        target: Target | str,
        on_ring: Callable[[frozenset[str]], None],
        on_connect: Callable[[], None],
        *,
        clock: Clock | None = None,
        ping_s: float = 3.0,
        timeout_s: float = 5.0,
    ) -> None:
        """Nothing runs yet.

        Args:
            target: PostgreSQL, as Database takes it.
            on_ring: called in the listener's thread with the ids of jobs that have changed.
            on_connect: called after every connect, the first too, and every second where no bell is heard: read
                everything again.
            clock: compared with PostgreSQL's whenever it is asked.
            ping_s: how often PostgreSQL is asked for its time, and so whether the connection still lives.
            timeout_s: longest wait for a connection and for an answer.
        """
        self._target = Target.of(target)
        self._deaf = self._target.bell is None
        self._on_ring = on_ring
        self._on_connect = on_connect
        self._clock = clock or Clock()
        self._ping_s = POLL_S if self._deaf else ping_s
        self._timeout_s = timeout_s
        self._stop_heard, self._stop_rung = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Starts the thread; does not wait for the connection."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended, if it was started; no callback comes after that. May be called once."""
        self._stop_rung.send(b"!")
        if self._thread.is_alive():
            self._thread.join()
        self._stop_rung.close()
        self._stop_heard.close()

    def _run(self) -> None:
        failures = 0
        while True:
            connection: Any = None
            try:
                connection = self._connected()
                if failures:
                    log.info("hearing PostgreSQL again after %d attempts", failures)
                failures = 0
                self._on_connect()
                self._hear(connection)
            except _StoppedError:
                return
            except (psycopg2.Error, OSError) as exc:
                if not failures:
                    log.warning("not hearing PostgreSQL, jobs are polled meanwhile: %s", str(exc).strip())
                failures += 1
            except Exception:
                log.exception("the listener starts again")
                failures += 1
            finally:
                if connection is not None:
                    connection.close()
            backoff_s = min(MAX_BACKOFF_S, _MIN_BACKOFF_S * 2 ** min(failures, 10))
            if self._stopped_within(backoff_s * (0.5 + random.random() / 2)):  # noqa: S311
                return

    def _connected(self) -> Any:
        there = self._target.bell or self._target
        connection = connect.asynchronous(there, self._in_time(), name="blade-listener")
        try:
            if not self._deaf:
                self._listen(connection)
            self._ask_time(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _listen(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {BELL}")
            self._finish(connection)
            cursor.execute(f'LISTEN "{cursor.fetchone()[0]}"')
            self._finish(connection)

    def _hear(self, connection: Any) -> None:
        ask_at_s = time.monotonic() + self._ping_s
        while True:
            if self._ready(connection, POLL_READ, ask_at_s):
                self._finish(connection)
            if time.monotonic() >= ask_at_s:
                self._ask_time(connection)
                ask_at_s = time.monotonic() + self._ping_s
                if self._deaf:
                    self._on_connect()
            rung = frozenset(notification.payload for notification in connection.notifies)
            connection.notifies.clear()
            if rung:
                self._on_ring(rung)

    def _ask_time(self, connection: Any) -> None:
        with self._clock.comparing() as comparison, connection.cursor() as cursor:
            cursor.execute(f"SELECT {NOW}")
            self._finish(connection)
            comparison.database_s = cursor.fetchone()[0]

    def _finish(self, connection: Any) -> None:
        connect.finish(connection, self._in_time())

    def _in_time(self) -> connect.Ready:
        deadline_s = time.monotonic() + self._timeout_s
        return lambda connection, state: self._ready(connection, state, deadline_s)

    def _ready(self, connection: Any, state: int, deadline_s: float) -> bool:
        """Waits until the socket can be read or written; False at the deadline."""
        watched = select.poll()
        watched.register(self._stop_heard, select.POLLIN)
        watched.register(connection, select.POLLOUT if state == POLL_WRITE else select.POLLIN)
        events = watched.poll(max(0.0, deadline_s - time.monotonic()) * 1000)
        if any(descriptor == self._stop_heard.fileno() for descriptor, _ in events):
            raise _StoppedError
        return bool(events)

    def _stopped_within(self, span_s: float) -> bool:
        watched = select.poll()
        watched.register(self._stop_heard, select.POLLIN)
        return bool(watched.poll(span_s * 1000))


class _StoppedError(Exception):
    """Leaves the thread from wherever it waits."""
