"""The upload threads of one job: what is on its way with them, and how much may be.

What is on its way is intended in the ledger, and after a crash it is looked up in the catalog one by one. So there is
as much of it as keeps the workers busy through a few commits of the ledger, and no more where the catalog is slow.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from blade_server.core.engine.batches import Batch
from blade_server.core.engine.upload.uploader import Uploader

WINDOW = (4, 16)
"""Batches on their way for each worker, at least and at most: in between, as many as came back within `RHYTHM_S`."""
RHYTHM_S = 0.2
WINDOW_BYTES = 64 << 20
"""Bytes on their way, for all workers of a job together."""


class UploadPool:
    """Belongs to the job's thread. `returned` are batches that came back with items that nothing has become of."""

    def __init__(self, uploader: Uploader, workers: int, name: str) -> None:
        self.returned: deque[Batch] = deque()
        self.flying = 0
        """Batches on their way."""
        self._uploader = uploader
        self._threads = [
            threading.Thread(target=uploader.run, name=f"upload {name} {number}", daemon=True)
            for number in range(workers)
        ]
        self._started = 0
        self._flying_bytes = 0
        self._least, self._most = workers * WINDOW[0], workers * WINDOW[1]
        self._window = self._least
        self._came_back, self._counted_since = 0, time.monotonic()

    def close(self) -> None:
        """Ends the threads, each after what it holds."""
        for _ in range(self._started):
            self._uploader.work.put(None)

    def has_room(self, batches: int = 0, size_bytes: int = 0) -> bool:
        """Whether another batch may be sent besides these: bounded in number and in bytes, one may always."""
        flying = self.flying + batches
        return flying == 0 or (flying < self._window and self._flying_bytes + size_bytes < WINDOW_BYTES)

    def send(self, batch: Batch) -> None:
        """Gives the batch to the next free worker; a small job needs few of them."""
        if self.flying >= self._started < len(self._threads):
            self._threads[self._started].start()
            self._started += 1
        self.flying += 1
        self._flying_bytes += batch.size_bytes
        self._uploader.work.put(batch)

    def take_back(self, batch: Batch) -> None:
        """A worker let it go."""
        self.flying -= 1
        self._flying_bytes -= batch.size_bytes
        if batch.open:
            self.returned.append(batch)
        self._came_back += 1
        now = time.monotonic()
        if now - self._counted_since >= RHYTHM_S:
            self._window = max(self._least, min(self._most, self._came_back))
            self._came_back, self._counted_since = 0, now
