"""A steady rate, as times that are handed out."""

from __future__ import annotations

import threading
import time


class Limiter:
    """Lets items through at a steady rate by handing out times in the order of asking. 0: no limit."""

    def __init__(self, items_per_second: float) -> None:
        self._lock = threading.Lock()
        self._rate = items_per_second
        self._next_free = 0.0
        self.changes = 0
        """Rises when times that were handed out are void."""

    @property
    def rate(self) -> float:
        """Items per second; 0: no limit."""
        return self._rate

    def set_rate(self, items_per_second: float) -> None:
        """Changes the rate for what has not been handed out."""
        with self._lock:
            if items_per_second != self._rate:
                self._rate = items_per_second
                self._next_free = 0.0
                self.changes += 1

    def forget(self) -> None:
        """Takes back the times that were handed out: nobody goes by them any more."""
        with self._lock:
            self._next_free = 0.0
            self.changes += 1

    def reserve(self, items: int) -> float:
        """Seconds to wait before these items may go."""
        with self._lock:
            if not self._rate:
                return 0.0
            now = time.monotonic()
            start = max(now, self._next_free)
            self._next_free = start + items / self._rate
            return start - now
