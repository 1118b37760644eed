"""How fast the items of a job may go: its limit, its source's over all replicas, what the catalog asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from blade_server.core.engine.halt import Control
from blade_server.core.engine.upload.limiter import Limiter
from blade_server.core.engine.upload.throttle import Throttle
from blade_server.model import WaitReason

LISTEN_EVERY_S = 0.5
"""How long somebody who waits for the rate may not have heard of a new one."""


class Pace:
    """The pace of one job: the slowest of its own limit, its source's and the catalog's."""

    def __init__(
        self, limiter: Limiter, throttle: Throttle, *, source_rate: float, source_turn: Callable[[int], float]
    ) -> None:
        """`source_turn` reserves the turn of so many items over all replicas and returns the seconds to wait for it."""
        self._limiter = limiter
        self._throttle = throttle
        self._source_rate = source_rate
        self._source_turn = source_turn
        self._turn = threading.Lock()

    @property
    def largest(self) -> int | None:
        """Most items to send at once so that the flow is even: half a second's worth; None: any number."""
        rates = [rate for rate in (self._limiter.rate, self._source_rate) if rate]
        steps = [max(1, int(rate / 2)) for rate in rates]
        if self._throttle.largest is not None:
            steps.append(self._throttle.largest)
        return min(steps, default=None)

    def wait_for_catalog(self, control: Control) -> None:
        """Waits while the catalog wants no requests. Raises HaltedError if the job must not go on."""
        while (held_s := self._throttle.held_s) > 0:
            detail = f"the catalog asked to slow down: nothing is sent for {held_s:.1f} s"
            control.wait(held_s, WaitReason.CATALOG_THROTTLED, detail)

    def wait(self, items: int, control: Control) -> None:
        """Waits until these items may go. Raises HaltedError if the job must not go on, StorageUnavailable."""
        self.wait_for_catalog(control)
        throttled_s = self._throttle.reserve(items)
        if throttled_s > 0:
            control.wait(throttled_s, WaitReason.CATALOG_THROTTLED, "going slower after the catalog asked for it")
        if self._limiter.rate or self._source_rate:
            self._wait_for_rate(items, control)

    def _wait_for_rate(self, items: int, control: Control) -> None:
        """One thread of the job after the other, so that little is reserved ahead and a new limit is heard at once."""
        while not self._turn.acquire(timeout=LISTEN_EVERY_S):
            control.check()
        try:
            if self._source_rate:  # promised to these items over all replicas: the job's own limits change nothing
                self._sleep(self._source_turn(items), control)
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
