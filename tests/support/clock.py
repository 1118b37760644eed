"""A clock that a test moves."""

from __future__ import annotations


class Clock:
    """Stands in for the module `time` where a test is about the passing of time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now
