"""Waiting for what has no event to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0, say: Callable[[], str] = lambda: "") -> None:
    """Returns as soon as the condition holds; fails, with what `say` says, if that takes too long."""
    deadline_s, pause_s = time.monotonic() + timeout_s, 0.005
    while not condition():
        assert time.monotonic() < deadline_s, f"still not so after {timeout_s} s. {say()}"
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.05)


def wait_still(value: Callable[[], object], seconds: float, timeout_s: float = 30.0) -> None:
    """Returns once the value has not changed for so long."""
    latest, since_s = value(), time.monotonic()

    def is_still() -> bool:
        nonlocal latest, since_s
        if (now := value()) != latest:
            latest, since_s = now, time.monotonic()
        return time.monotonic() - since_s > seconds

    wait_until(is_still, timeout_s, lambda: f"it changed to {latest}")
