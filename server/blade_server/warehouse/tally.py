"""What statements take: how many there are, how long they run, what is read of their results."""

from __future__ import annotations

import threading
import time

from blade_server.model.cost import Cost


class Tally:
    """Of any number of sessions, one after the other. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[object, float] = {}
        self._statements = self._rows = self._bytes = 0
        self._ran_s = 0.0

    def begin(self, statement: object) -> None:
        """It is being sent."""
        with self._lock:
            self._statements += 1
            self._running[statement] = time.monotonic()

    def end(self, statement: object) -> None:
        """It has finished running, or is given up. Harmless if it did not begin, or has ended."""
        with self._lock:
            began = self._running.pop(statement, None)
            if began is not None:
                self._ran_s += time.monotonic() - began

    def read(self, rows: int, size_bytes: int) -> None:
        """These came of a result."""
        with self._lock:
            self._rows += rows
            self._bytes += size_bytes

    @property
    def cost(self) -> Cost:
        """So far, with the statements that run. It never goes down."""
        with self._lock:
            now = time.monotonic()
            ran_s = self._ran_s + sum(now - began for began in self._running.values())
            return Cost(
                statements=self._statements,
                warehouse_ms=int(ran_s * 1000.0),
                rows_read=self._rows,
                bytes_read=self._bytes,
            )
