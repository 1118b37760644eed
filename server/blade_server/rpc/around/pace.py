"""How many calls a principal may make in a second."""

from __future__ import annotations

import time
from collections import OrderedDict

from blade_server.errors import QuotaExceeded
from blade_server.model.access import Kind, Principal

_MAX_REMEMBERED = 10_000


class Pace:
    """A bucket for each principal: it fills at `calls_per_s` and holds a second's worth. 0: no limit.

    Belongs to one event loop.
    """

    def __init__(self, calls_per_s: float) -> None:
        self._rate = calls_per_s
        self._room = max(1.0, calls_per_s)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, principal: Principal) -> None:
        """Counts a call. Raises QuotaExceeded if there were too many."""
        if not self._rate or principal.kind is Kind.OFF:
            return
        now_s = time.monotonic()
        left, at_s = self._buckets.pop(principal.name, (self._room, now_s))
        left = min(self._room, left + (now_s - at_s) * self._rate)
        self._buckets[principal.name] = (left - 1 if left >= 1 else left, now_s)
        if len(self._buckets) > _MAX_REMEMBERED:
            self._buckets.popitem(last=False)
        if left < 1:
            raise QuotaExceeded(
                f"{principal.name!r} makes more than {self._rate:g} calls a second, the limit of one principal "
                "(BLADE_PRINCIPAL_CALLS_PER_S); call again in a moment",
                subject="calls of a principal",
                retry_after_s=(1 - left) / self._rate,
            )
