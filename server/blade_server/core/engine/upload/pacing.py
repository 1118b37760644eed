"""How fast items may go: the job's own limit, the source's over all replicas, and the catalog's wish to slow down."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress

from blade_server.core.engine.halt import Control
from blade_server.errors import StorageUnavailable
from blade_server.model import WaitReason
from blade_server.storage.engine.paces import PaceStore

_CATALOG = "catalog"
_MIN_RATE = 1.0
_RECOVERY = 1.1
"""After a throttle the rate grows by this factor each second."""
_FREE_AT = 8.0
"""The cap goes once it is so many times what it began with."""


LISTEN_EVERY_S = 0.5
"""How long somebody who waits for the rate may not have heard of a new one."""


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


class Throttle:
    """What the catalog said about its load; one for the process, its holds shared by all replicas through PostgreSQL.

    A 429 (or 503 with Retry-After) holds everybody for the time asked and halves the rate; from there it grows again by
    a tenth each second until it is free.
    """

    def __init__(self, store: PaceStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._hold_until = 0.0
        self._limiter = Limiter(0.0)
        self._first_cap = 0.0
        self._raised = 0.0
        self._halved_at = 0.0
        self._sent: deque[tuple[float, int]] = deque()

    def sent(self, items: int) -> None:
        """These items were accepted: feeds the measured rate and the recovery."""
        now = time.monotonic()
        with self._lock:
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

    def slow_down(self, retry_after_s: float) -> None:
        """The catalog asked to slow down: nobody on any replica sends for so long."""
        now = time.monotonic()
        with self._lock:
            if now >= self._hold_until and now - self._halved_at >= 1.0:  # many workers hear of one overload
                self._halved_at = now
                self._forget(now)
                measured = sum(items for _, items in self._sent) / 3.0
                now_at = min(self._limiter.rate, measured) if self._limiter.rate else measured
                if now_at:  # else nothing was sent before: the hold alone is all that is known
                    cap = max(_MIN_RATE, now_at / 2)
                    self._limiter.set_rate(cap)
                    self._first_cap = self._first_cap or cap
                    self._raised = now + retry_after_s
            self._hold_until = max(self._hold_until, now + retry_after_s)
        with suppress(StorageUnavailable):  # then only this server knows of it for now
            self._store.hold(_CATALOG, retry_after_s)

    def refresh(self) -> None:
        """Learns of holds that other replicas set. Raises StorageUnavailable."""
        held_s = self._store.held_for(_CATALOG)
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


class Pace:
    """The pace of one job: the slowest of its own limit, its source's and the catalog's."""

    def __init__(self, limiter: Limiter, throttle: Throttle, store: PaceStore, source: str, source_rate: float) -> None:
        self._limiter = limiter
        self._throttle = throttle
        self._store = store
        self._key = f"source:{source}"
        self._source_rate = source_rate
        self._turn = threading.Lock()

    @property
    def largest(self) -> int | None:
        """Most items to send at once so that the flow is even: half a second's worth; None: any number."""
        rates = [rate for rate in (self._limiter.rate, self._source_rate) if rate]
        steps = [max(1, int(rate / 2)) for rate in rates]
        if self._throttle.largest is not None:
            steps.append(self._throttle.largest)
        return min(steps, default=None)

    def wait(self, items: int, control: Control) -> None:
        """Waits until these items may go. Raises HaltedError if the job must not go on, StorageUnavailable."""
        while (held_s := self._throttle.held_s) > 0:
            control.wait(held_s, WaitReason.CATALOG_THROTTLED, f"the catalog asked for {held_s:.1f} s without uploads")
        throttled_s = self._throttle.reserve(items)
        if throttled_s > 0:
            control.wait(throttled_s, WaitReason.CATALOG_THROTTLED, "going slower after the catalog asked for it")
        if self._limiter.rate or self._source_rate:
            self._wait_for_rate(items, control)

    def _wait_for_rate(self, items: int, control: Control) -> None:
        """One worker of the job after the other, so that little is reserved ahead and a new limit is heard at once."""
        while not self._turn.acquire(timeout=LISTEN_EVERY_S):
            control.check()
        try:
            if self._source_rate:  # promised to these items over all replicas: the job's own limits change nothing
                self._sleep(self._store.reserve(self._key, items, self._source_rate), control)
            changes = -1
            while changes != self._limiter.changes:
                changes = self._limiter.changes
                self._sleep(self._limiter.reserve(items), control, changes)
        finally:
            self._turn.release()

    def _sleep(self, seconds: float, control: Control, changes: int | None = None) -> None:
        """Waits so long, or until the limiter's times of before `changes` are void, if given."""
        until = time.monotonic() + seconds
        while changes in {None, self._limiter.changes} and (left := until - time.monotonic()) > 0:
            control.wait(min(left, LISTEN_EVERY_S), WaitReason.RATE_LIMITED, f"{self._slowest():g} items/s")

    def _slowest(self) -> float:
        return min((rate for rate in (self._limiter.rate, self._source_rate) if rate), default=0.0)
