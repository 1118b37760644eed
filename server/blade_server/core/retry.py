"""The one policy for transient errors: 3 retries, 2 s apart and growing, with jitter, never sooner than asked for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from blade_server.errors import BladeError, Unavailable

T = TypeVar("T")

MAX_DELAY_S = 60.0


def delay_s(attempt: int, base_s: float, error: BladeError | None = None) -> float:
    """How long to wait before another attempt; `attempt` counts from 1.

    Doubles from `base_s` up to a minute, with up to a quarter of jitter on top so that many workers do not come back at
    one moment. The other side's Retry-After is a floor.
    """
    backoff: float = min(MAX_DELAY_S, base_s * 2 ** min(attempt - 1, 30)) * (1 + random.random() / 4)  # noqa: S311
    asked = error.retry_after_s if isinstance(error, Unavailable) else None
    return max(backoff, asked or 0.0)


def call(
    function: Callable[[], T],
    *,
    attempts: int,
    base_s: float,
    wait: Callable[[float], object] = time.sleep,
    on_retry: Callable[[BladeError, float], object] | None = None,
) -> T:
    """Calls `function` up to 1 + `attempts` times while it raises transient errors; the last error goes on.

    `wait` may raise to give up early (a cancelled job); `on_retry` is told the error and the seconds to wait.
    """
    for attempt in range(1, attempts + 1):
        try:
            return function()
        except BladeError as exc:
            if not exc.transient:
                raise
            seconds = delay_s(attempt, base_s, exc)
            if on_retry is not None:
                on_retry(exc, seconds)
            wait(seconds)
    return function()
