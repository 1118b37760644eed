"""Whether PostgreSQL answers and takes writes, asked again and again on a connection of its own, in a thread.

Not asked through the pool, which may be busy; nor by the bell, which waits longer before it gives a connection up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg2

from blade_server.storage import connect
from blade_server.storage.clock import NOW, Clock
from blade_server.storage.connect import Target

EVERY_S = 1.0
TIMEOUT_S = 2.0
"""For a connection, and for an answer."""
_QUESTION = f"SELECT {NOW}, current_setting('transaction_read_only')::bool"


class Pulse:
    """Looks until it is stopped."""

    def __init__(self, target: Target | str, clock: Clock, on_change: Callable[[], None]) -> None:
        """Nothing runs yet.

        Args:
            target: PostgreSQL, as Database takes it; that it answers is believed until it is asked.
            clock: compared with PostgreSQL's each time.
            on_change: called in the thread when `trouble` has changed.
        """
        self.trouble = ""
        """What is wrong with PostgreSQL, without names or addresses; empty: nothing."""
        self._target = Target.of(target)
        self._clock = clock
        self._on_change = on_change
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more; returns within the time that a question may take. Harmless if called again."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        connection: Any = None
        while not self._stopping.is_set():
            trouble = "does not answer"
            try:
                connection = connection or connect.asynchronous(
                    self._target, connect.within(TIMEOUT_S), name="blade-pulse"
                )
                trouble = "takes no writes" if self._is_read_only(connection) else ""
            except (psycopg2.Error, OSError):
                pass  # whoever needs it for his work logs why
            if trouble and connection is not None:
                connection.close()  # the next one may lead to another server
                connection = None
            self._say(trouble)
            self._stopping.wait(EVERY_S)
        if connection is not None:
            connection.close()

    def _is_read_only(self, connection: Any) -> bool:
        with self._clock.comparing() as comparison, connection.cursor() as cursor:
            cursor.execute(_QUESTION)
            connect.finish(connection, connect.within(TIMEOUT_S))
            comparison.database_s, read_only = cursor.fetchone()
        return bool(read_only)

    def _say(self, trouble: str) -> None:
        was, self.trouble = self.trouble, trouble
        if was != trouble and not self._stopping.is_set():
            self._on_change()
