"""Answers remembered by their Idempotency-Key, so that an upload that is repeated stores nothing twice."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import NamedTuple

_REMEMBER_S = 600.0
_REMEMBER_BYTES = 32 * 1024 * 1024


class Answer(NamedTuple):
    """A reply that can be given again."""

    status: int
    body: bytes


class IdempotencyCache:
    """The last `size`, for 10 minutes, at most 32 MiB; gone when the process ends."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._by_key: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._bytes = 0
        self.replayed = 0

    def get(self, key: str | None) -> Answer | None:
        """The first answer to this key, if still remembered."""
        self._forget(time.monotonic() - _REMEMBER_S)
        if key is None or key not in self._by_key:
            return None
        self.replayed += 1
        return self._by_key[key][1]

    def keep(self, key: str | None, answer: Answer) -> None:
        """Remembers what was stored under this key."""
        if key is not None and self._size:
            self._by_key[key] = (time.monotonic(), answer)
            self._bytes += len(answer.body)

    def clear(self) -> None:
        """Forgets all, as what they speak of is gone."""
        self._by_key.clear()
        self._bytes = 0

    def _forget(self, before: float) -> None:
        while self._by_key:
            at, answer = next(iter(self._by_key.values()))
            if at > before and len(self._by_key) <= self._size and self._bytes <= _REMEMBER_BYTES:
                return
            self._by_key.popitem(last=False)
            self._bytes -= len(answer.body)
