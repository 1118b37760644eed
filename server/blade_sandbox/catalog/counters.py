"""What happened since the start: the figures of `GET /sandbox/status`."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

_UPLOADS_SHOWN = 1000


class Counters:
    """Counts of requests under /v1. `concurrent` are those not answered yet."""

    def __init__(self) -> None:
        self.requests = 0
        self.uploads = 0
        self.deletes = 0
        self.concurrent = 0
        self.max_concurrent = 0
        self.started: deque[float] = deque(maxlen=_UPLOADS_SHOWN)
        self.traceparents: deque[str] = deque(maxlen=_UPLOADS_SHOWN)

    def enter(self, *, upload: bool, delete: bool, traceparent: str = "") -> None:
        """A request began: its headers are here, its body may not be."""
        self.requests += 1
        self.concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self.concurrent)
        if upload:
            self.uploads += 1
            self.started.append(time.time())
            self.traceparents.append(traceparent)
        if delete:
            self.deletes += 1

    def leave(self) -> None:
        """A request ended, answered or not."""
        self.concurrent -= 1

    def shown(self) -> dict[str, Any]:
        """All of it; of the last uploads, oldest first, their begins in RFC 3339 and their `traceparent`, or ""."""
        return {
            "requests": self.requests,
            "uploads": self.uploads,
            "deletes": self.deletes,
            "concurrent": self.concurrent,
            "max_concurrent": self.max_concurrent,
            "uploads_started": [datetime.fromtimestamp(at, UTC).isoformat() for at in self.started],
            "traceparents": list(self.traceparents),
        }
