"""What a catalog that asked to slow down does to all who send."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from blade_server.core.engine.upload.limiter import Limiter
from blade_server.errors import StorageUnavailable

_MIN_HOLD_S = (0.5, 30.0)
"""Nobody sends for at least so long: at first, and at most after it doubled with every throttle that came at once."""
_MIN_RATE = 1.0
_RECOVERY = 1.1
"""After a throttle the rate grows by this factor each second."""
_FREE_AT = 8.0
"""The cap goes once it is so many times what it began with."""


class Throttle:
    """What the catalog said about its load; one for the process, its holds shared by all replicas.

    A 429 (or 503 with Retry-After) holds everybody for the time asked and halves the rate; from there it grows again by
    a tenth each second until it is free. Until something is accepted each hold is twice as long as the last one at
    least, whatever was asked: a catalog that says "at once" for ever is not asked without a pause.
    """

    def __init__(self, hold: Callable[[float], None], held_for: Callable[[], float]) -> None:
        """`hold` tells the other replicas that nobody sends for so many seconds, `held_for` asks what they told."""
        self._hold = hold
        self._held_for = held_for
        self._lock = threading.Lock()
        self._hold_until = 0.0
        self._min_hold_s = 0.0
        self._limiter = Limiter(0.0)
        self._first_cap = 0.0
        self._raised = 0.0
        self._halved_at = 0.0
        self._sent: deque[tuple[float, int]] = deque()

    def sent(self, items: int) -> None:
        """These items were accepted: feeds the measured rate and the recovery."""
        now = time.monotonic()
        with self._lock:
            if items:
                self._min_hold_s = 0.0
            self._sent.append((now, items))
            self._forget(now)
            if self._first_cap and now - self._raised >= 1.0:
                self._raised = now
                rate = self._limiter.rate * _RECOVERY
                if rate >= self._first_cap * _FREE_AT:
                    rate = self._first_cap = 0.0
                self._limiter.set_rate(rate)

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0][0] < now - 3.0:
            self._sent.popleft()

    def slow_down(self, asked_s: float) -> None:
        """The catalog asked to slow down: nobody on any replica sends for so long, or longer if it says so again."""
        now = time.monotonic()
        with self._lock:
            if now >= self._hold_until:  # many threads hear of one overload
                least, most = _MIN_HOLD_S
                self._min_hold_s = min(most, max(least, 2 * self._min_hold_s))
                if now - self._halved_at >= 1.0:
                    self._halve(now, max(asked_s, self._min_hold_s))
            hold_s = max(asked_s, self._min_hold_s)
            self._hold_until = max(self._hold_until, now + hold_s)
        with suppress(StorageUnavailable):  # then only this server knows of it for now
            self._hold(hold_s)

    def _halve(self, now: float, hold_s: float) -> None:
        self._halved_at = now
        self._forget(now)
        measured = sum(items for _, items in self._sent) / 3.0
        now_at = min(self._limiter.rate, measured) if self._limiter.rate else measured
        if now_at:  # else nothing was sent before: the hold alone is all that is known
            cap = max(_MIN_RATE, now_at / 2)
            self._limiter.set_rate(cap)
            self._first_cap = self._first_cap or cap
            self._raised = now + hold_s

    def refresh(self) -> None:
        """Learns of holds that other replicas set. Raises StorageUnavailable."""
        held_s = self._held_for()
        with self._lock:
            self._hold_until = max(self._hold_until, time.monotonic() + held_s) if held_s else self._hold_until

    @property
    def held_s(self) -> float:
        """Seconds until anybody may send again; 0 or less: now."""
        with self._lock:
            return self._hold_until - time.monotonic()

    def reserve(self, items: int) -> float:
        """Seconds to wait before these items may go at the reduced rate."""
        return self._limiter.reserve(items)

    @property
    def largest(self) -> int | None:
        """Most items to send at once while throttled."""
        return max(1, int(self._limiter.rate / 2)) if self._limiter.rate else None
