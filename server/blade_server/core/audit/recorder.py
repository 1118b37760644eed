"""Tells the audit log what no transaction of PostgreSQL does: effects outside of it, readings of rows, refusals."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blade_server.errors import BladeError, Reason, StorageUnavailable
from blade_server.model.access import AuditOutcome, Caller, Deed
from blade_server.storage.audit import AuditStore

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Entries that are not written yet; no rows are read once there are so many."""
EVERY_S = 60.0
_BATCH = 500
_GATHER_S = 0.2
_AFTER_FAILURE_S = 1.0
_LAST_WORDS_S = 5.0


class Recorder:
    """Thread-safe. Readings and refusals wait for nothing: a thread writes them a moment later, in batches.

    A process that is killed loses what it has not written yet, a moment's; one that stops does not, unless PostgreSQL
    stays away.
    """

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._waiting: deque[tuple[Caller, Deed]] = deque()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, every_minute: Callable[[], None]) -> None:
        """Begins to write; `every_minute` is called now, then each minute, and last when all is written."""
        self._thread = threading.Thread(target=self._loop, args=(every_minute,), name="audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when all is written, or a few seconds have not been enough; at once if called again."""
        self._stopping.set()
        self._some.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.join(_LAST_WORDS_S)
        if self._waiting:
            log.error("%d entries of the audit log could not be written and are lost", len(self._waiting))

    def read(self, by: Caller, about: str) -> None:
        """He is about to be given rows. Raises StorageUnavailable if too much waits to be written."""
        if not self.note(by, Deed(about=about)):
            raise StorageUnavailable(
                "the audit log cannot be written, and too much waits for it: no rows are read until it can be"
            )

    def note(self, by: Caller, deed: Deed) -> bool:
        """Has an entry written soon; False, and nothing, if too much waits."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._put(by, deed)
        return True

    @contextmanager
    def outside(self, by: Caller, about: str, what: str) -> Iterator[None]:
        """Around an effect outside of PostgreSQL: an entry before it and one behind it, also of its failure.

        Raises StorageUnavailable if the first cannot be written, and then nothing is done.
        """
        number = self._store.append([(by, Deed(about=about, outcome=AuditOutcome.BEGUN, detail=what))])
        begun = f"{what}, begun as {number}"
        try:
            yield
        except BaseException as exc:
            reason = exc.reason if isinstance(exc, BladeError) else Reason.INTERNAL
            self._after(by, Deed(about=about, outcome=AuditOutcome.FAILED, detail=f"{begun}: {reason}"))
            raise
        self._after(by, Deed(about=about, detail=begun))

    def _after(self, by: Caller, deed: Deed) -> None:
        """It is done whether or not PostgreSQL hears of it at once."""
        try:
            self._store.append([(by, deed)])
        except StorageUnavailable:
            self._put(by, deed)

    def _put(self, by: Caller, deed: Deed) -> None:
        self._waiting.append((by, deed))
        self._some.set()

    def _loop(self, every_minute: Callable[[], None]) -> None:
        next_s = time.monotonic()
        while not self._stopping.is_set():
            self._some.wait(next_s - time.monotonic())
            self._stopping.wait(_GATHER_S)
            self._some.clear()
            self._tried(self.flush)
            if time.monotonic() >= next_s:
                self._tried(every_minute)
                next_s = time.monotonic() + EVERY_S
        for last in (every_minute, self.flush, every_minute):  # what is left out, with the rest; then where it ends
            self._tried(last)

    def _tried(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BladeError as exc:
            log.warning("%d entries of the audit log wait: %s", len(self._waiting), exc.message)
            self._stopping.wait(_AFTER_FAILURE_S)
        except Exception:
            log.exception("the audit log met a bug; %d entries wait", len(self._waiting))
            self._stopping.wait(_AFTER_FAILURE_S)
        if self._waiting:
            self._some.set()

    def flush(self) -> None:
        """Writes what waits, in order. Raises StorageUnavailable; what is not written goes on waiting."""
        while self._waiting:
            batch = [self._waiting[place] for place in range(min(_BATCH, len(self._waiting)))]
            self._store.append(batch)
            for _ in batch:
                self._waiting.popleft()
