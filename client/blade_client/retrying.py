"""When a call is tried again, and how long to wait before it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from blade_client import errors

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
# The server answers; what stands behind it does not, and is known to take longer than a caller wants to wait unasked.
_HOPELESS_NOW = {"WAREHOUSE_UNAVAILABLE", "CATALOG_UNAVAILABLE"}


class Deadline:
    """A moment by which everything must be over; `None` seconds: never."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    def remaining_s(self) -> float | None:
        """Seconds left, at least 0; None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


class Retry:
    """Counts the failed attempts of one call and decides about the next.

    Args:
        attempts: Attempts in all; None: no limit but the deadline.
        deadline: No wait goes past it.
        transient: Says which errors another attempt may mend. Default: is_transient.
    """

    def __init__(
        self,
        *,
        attempts: int | None,
        deadline: Deadline,
        transient: Callable[[errors.BladeClientError], bool] | None = None,
    ) -> None:
        self._attempts = attempts
        self._deadline = deadline
        self._transient = transient or is_transient
        self.failures = 0

    def wait_s(self, error: errors.BladeClientError) -> float | None:
        """Counts a failure. Returns the seconds to wait before another attempt, or None to give up.

        The wait doubles with each failure up to 10 s, less a random part of up to half so that many clients do not
        come back at once; the server's RetryInfo is the floor.
        """
        self.failures += 1
        if not self._transient(error) or (self._attempts is not None and self.failures >= self._attempts):
            return None
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(self.failures - 1, 16))
        wait_s *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
        wait_s = max(wait_s, error.retry_after_s or 0.0)
        remaining_s = self._deadline.remaining_s()
        return None if remaining_s is not None and wait_s >= remaining_s else wait_s

    def reset(self) -> None:
        """Forgets the failures, because something came through."""
        self.failures = 0


def is_transient(error: errors.BladeClientError) -> bool:
    """True if the same call may succeed within seconds."""
    return isinstance(error, errors.Unavailable) and error.reason not in _HOPELESS_NOW
