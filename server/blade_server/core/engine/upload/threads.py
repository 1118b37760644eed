"""The upload threads of one job: what is on its way with them, and how much may be.

What is on its way is intended in the ledger, and after a crash it is looked up in the catalog one by one. So there is
as much of it as keeps the threads busy through a few commits of the ledger, and no more where the catalog is slow.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from queue import Queue

from blade_server.core.engine.batches import Batch, Report
from blade_server.core.engine.halt import Control, Halt, HaltedError

WINDOW = (4, 16)
"""Batches on their way for each thread, at least and at most: in between, as many as came back within `RHYTHM_S`."""
RHYTHM_S = 0.2
WINDOW_BYTES = 64 << 20
"""Bytes on their way, for all threads of a job together."""


class UploadThreads:
    """Belongs to the job's thread. `returned` are batches that came back with items that nothing has become of.

    Some of those wait for something: no thread does.
    """

    def __init__(
        self,
        send: Callable[[Batch], Iterable[Report]],
        control: Control,
        inbox: Callable[[Report | BaseException], None],
        *,
        threads: int,
        name: str,
    ) -> None:
        """`send` does one batch and tells what became of its items; `inbox` gets that, and what ends the job."""
        self.returned: deque[Batch] = deque()
        self.flying = 0
        """Batches on their way."""
        self._send = send
        self._control = control
        self._inbox = inbox
        self._work: Queue[Batch | None] = Queue()
        self._threads = [
            threading.Thread(target=copy_context().run, args=(self._run,), name=f"upload {name} {number}", daemon=True)
            for number in range(threads)
        ]
        self._started = 0
        self._flying_bytes = 0
        self._least, self._most = threads * WINDOW[0], threads * WINDOW[1]
        self._window = self._least
        self._came_back, self._counted_since = 0, time.monotonic()

    def close(self) -> None:
        """Ends the threads, each after what it holds."""
        for _ in range(self._started):
            self._work.put(None)

    def has_room(self, batches: int = 0, size_bytes: int = 0) -> bool:
        """Whether another batch may be sent besides these: bounded in number and in bytes, one may always.

        Those that wait count as well: what is in doubt must not grow without bounds where an upload in ten goes wrong.
        """
        flying, waiting = self.flying + batches, self.returned
        if flying == 0 and not waiting:
            return True
        size_bytes += self._flying_bytes + sum(batch.size_bytes for batch in waiting)
        return flying < self._window and len(waiting) < self._most and size_bytes < WINDOW_BYTES

    def send_due(self) -> None:
        """Gives batches that came back to the threads again, those for which something can be done."""
        if not self.returned:
            return
        now = time.monotonic()
        for batch in [batch for batch in self.returned if batch.due <= now]:
            if self.flying >= self._window:
                return
            self.returned.remove(batch)
            self.send(batch)

    def send(self, batch: Batch) -> None:
        """Gives the batch to the next free thread, of which a small job needs few: they start as they are needed."""
        if self.flying >= self._started < len(self._threads):
            self._start_another()
        self.flying += 1
        self._flying_bytes += batch.size_bytes
        self._work.put(batch)

    def _start_another(self) -> None:
        try:
            self._threads[self._started].start()
        except RuntimeError:  # no more threads on this machine: those that run do the work
            if not self._started:
                raise
        else:
            self._started += 1

    def take_back(self, batch: Batch) -> None:
        """A thread let it go."""
        self.flying -= 1
        self._flying_bytes -= batch.size_bytes
        if batch.open:
            self.returned.append(batch)
        self._came_back += 1
        now = time.monotonic()
        if now - self._counted_since >= RHYTHM_S:
            self._window = max(self._least, min(self._most, self._came_back))
            self._came_back, self._counted_since = 0, now

    def _run(self) -> None:
        """The life of a thread: until it gets None."""
        while (batch := self._work.get()) is not None:
            try:
                for report in self._send(batch):
                    self._inbox(report)
            except HaltedError:
                pass  # what is open goes back with the batch
            except BaseException as exc:
                self._control.halt(Halt.FAIL)
                self._inbox(exc)
            self._inbox(Report(batch=batch, left=True))
