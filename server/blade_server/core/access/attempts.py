"""How often somebody may try something: a few times at once, and then once in a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from blade_server.errors import QuotaExceeded

AT_ONCE = 10
EVERY_S = 6.0
"""So often at once, and then once in so many seconds."""
_MAX_KNOWN = 10_000


class Attempts:
    """Counts what each name or address does, of a bounded number: who was quiet longest is forgotten first.

    Thread-safe. `what` they do too often, in words.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._paid_at: OrderedDict[str, float] = OrderedDict()

    def count(self, who: str) -> None:
        """Raises QuotaExceeded if there were too many."""
        with self._lock:
            now = time.monotonic()
            paid_at = max(now, self._paid_at.pop(who, now)) + EVERY_S
            wait_s = paid_at - now - AT_ONCE * EVERY_S
            self._paid_at[who] = paid_at if wait_s <= 0 else paid_at - EVERY_S
            while len(self._paid_at) > _MAX_KNOWN:
                self._paid_at.popitem(last=False)
        if wait_s > 0:
            message = f"{who} {self._what} too often; try again in {wait_s:.0f} s"
            raise QuotaExceeded(message, subject=who, retry_after_s=wait_s)
