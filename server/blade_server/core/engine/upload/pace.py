"""How fast the items of a job may go: its limit, its source's over all replicas, what the catalog asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from blade_server.core.engine.halt import Control
from blade_server.core.engine.upload.limiter import Limiter
from blade_server.core.engine.upload.throttle import Throttle
from blade_server.model import WaitReason

LISTEN_EVERY_S = 0.5
"""How long somebody who waits for the rate may not have heard of a new one."""


class SharedRate(NamedTuple):
    """Items a second over all jobs and replicas: of a source or a destination.

    `turn` reserves the turn of so many items and returns the seconds to wait for it; raises StorageUnavailable.
    """

    items_per_second: float
    turn: Callable[[int], float]


class Pace:
    """The pace of one job: the slowest of its own limit, those it shares with others, and the catalog's."""

    def __init__(self, limiter: Limiter, throttle: Throttle, shared: Sequence[SharedRate] = ()) -> None:
        self._limiter = limiter
        self._throttle = throttle
        self._shared = shared
        self._turn = threading.Lock()

    @property
    def largest(self) -> int | None:
        """Most items to send at once so that the flow is even: half a second's worth; None: any number."""
        steps = [max(1, int(rate / 2)) for rate in self._rates()]
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
        if self._rates():
            self._wait_for_rate(items, control)

    def _wait_for_rate(self, items: int, control: Control) -> None:
        """One thread of the job after the other, so that little is reserved ahead and a new limit is heard at once."""
        while not self._turn.acquire(timeout=LISTEN_EVERY_S):
            control.check()
        try:
            if self._shared:  # promised to these items over all replicas: the job's own limits change nothing
                self._sleep(max(rate.turn(items) for rate in self._shared), control)
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
        return min(self._rates(), default=0.0)

    def _rates(self) -> list[float]:
        rates = [self._limiter.rate, *(shared.items_per_second for shared in self._shared)]
        return [rate for rate in rates if rate]
