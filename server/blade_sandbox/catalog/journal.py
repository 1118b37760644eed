"""What happened since the start: the figures of `GET /sandbox/status`, and the answers remembered by key."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from datetime import UTC, datetime
from typing import Any, NamedTuple

_UPLOADS_SHOWN = 1000
_REMEMBER_S = 600.0
_REMEMBER_BYTES = 32 * 1024 * 1024


class Journal:
    """Counts of requests under /v1. `concurrent` are those not answered yet."""

    def __init__(self) -> None:
        self.requests = 0
        self.uploads = 0
        self.concurrent = 0
        self.max_concurrent = 0
        self.started: deque[float] = deque(maxlen=_UPLOADS_SHOWN)

    def enter(self, *, upload: bool) -> None:
        """A request began: its headers are here, its body may not be."""
        self.requests += 1
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)
        if upload:
            self.uploads += 1
            self.started.append(time.time())

    def leave(self) -> None:
        """A request ended, answered or not."""
        self.concurrent -= 1

    def shown(self) -> dict[str, Any]:
        """All of it, the last uploads' begins oldest first in RFC 3339."""
        return {
            "requests": self.requests,
            "uploads": self.uploads,
            "concurrent": self.concurrent,
            "max_concurrent": self.max_concurrent,
            "uploads_started": [datetime.fromtimestamp(at, UTC).isoformat() for at in self.started],
        }


class Answer(NamedTuple):
    """A reply that can be given again."""

    status: int
    body: bytes


class Answers:
    """Replies by Idempotency-Key: the last `size`, for 10 minutes, at most 32 MiB; gone when the process ends."""

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
