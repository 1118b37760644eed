"""Looks for due times and starts what is due, in threads of its own.

Every replica has one and none is the leader: they meet in PostgreSQL, whose clock is the one that counts.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from blade_server.core.due.starts import Starts
from blade_server.errors import BladeError, StorageUnavailable
from blade_server.model.sync import Sync
from blade_server.storage.jobs.rows import SYNCS
from blade_server.storage.sync.due import DueStore

log = logging.getLogger(__name__)

POLL_S = 10.0
"""It looks at least so often, for the case that a ring was lost."""
AT_ONCE = 64
REST_S = 0.1
"""It looks at most so often."""
AFTER_FAILURE_S = 1.0
LATE_EVERY_S = 15.0
_LATE_AT_ONCE = 100


class Scheduler:
    """Thread-safe. What a stop interrupts is nothing: each due time is one transaction."""

    def __init__(self, store: DueStore, starts: Starts, *, threads: int) -> None:
        """Nothing runs yet. `threads`: so many due times are settled side by side."""
        self._store = store
        self._starts = starts
        self._server = secrets.token_hex(8)
        self._threads = threads
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._next_late_s = 0.0
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def wake(self) -> None:
        """Anything may have changed: look at once. Any thread."""
        self._bell.set()

    def ring(self, payloads: Collection[str]) -> None:
        """What was rung. Any thread."""
        if SYNCS in payloads:
            self.wake()

    def stop(self) -> None:
        """Returns when the due times that are being settled are."""
        self._stopping.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _loop(self) -> None:
        with ThreadPoolExecutor(self._threads, "due") as pool:
            while not self._stopping.is_set():
                self._bell.wait(self._tried(lambda: self._look(pool)))
                self._bell.clear()
                self._stopping.wait(REST_S)

    def _tried(self, work: Callable[[], float]) -> float:
        """How long to rest after the work."""
        try:
            return work()
        except StorageUnavailable:  # logged where it was met
            return AFTER_FAILURE_S
        except BladeError as exc:
            log.warning("due times are looked at again in %.0f s: %s", POLL_S, exc.message)
        except Exception:
            log.exception("the scheduler met a bug and goes on in %.0f s", POLL_S)
        return POLL_S

    def _look(self, pool: ThreadPoolExecutor) -> float:
        waiting = self._store.waiting(server=self._server, limit=AT_ONCE)
        work: Sequence[Callable[[], bool]] = [
            *(self._of(self._starts.settle, sync, waiting.time) for sync in waiting.due),
            *(self._of(self._starts.start_queued, sync) for sync in waiting.queued),
        ]
        settled = sum(pool.map(lambda one: not self._stopping.is_set() and one(), work))
        self._look_for_late()
        if settled or len(work) >= AT_ONCE:
            return 0.0
        wait_s = POLL_S if waiting.next_s is None else max(0.0, min(waiting.next_s, POLL_S))
        return max(wait_s, AFTER_FAILURE_S) if work else wait_s

    def _of(self, settle: Callable[..., bool], sync: Sync, *more: object) -> Callable[[], bool]:
        return lambda: settle(sync, *more)

    def _look_for_late(self) -> None:
        if time.monotonic() >= self._next_late_s:
            while self._store.tell_late(limit=_LATE_AT_ONCE) >= _LATE_AT_ONCE and not self._stopping.is_set():
                pass
            self._next_late_s = time.monotonic() + LATE_EVERY_S
