"""Looks for due times and starts what is due, in a thread of its own.

Every replica has one and none is the leader: they meet in PostgreSQL, whose clock is the one that counts.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection

from blade_server.core.due.starts import Starts
from blade_server.errors import BladeError, StorageUnavailable
from blade_server.storage.jobs.rows import SYNCS
from blade_server.storage.sync.due import DueStore

log = logging.getLogger(__name__)

POLL_S = 10.0
"""It looks at least so often, for the case that a ring was lost."""
AT_ONCE = 128
REST_S = 0.1
"""What it cannot settle, because another server is at it, it looks at again after so long."""
AFTER_FAILURE_S = 1.0
LATE_EVERY_S = 15.0
_LATE_AT_ONCE = 100


class Scheduler:
    """Thread-safe. What a stop interrupts is nothing: each due time is one transaction."""

    def __init__(self, store: DueStore, starts: Starts) -> None:
        """Nothing runs yet."""
        self._store = store
        self._starts = starts
        self._server = secrets.token_hex(8)
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
        while not self._stopping.is_set():
            self._bell.clear()
            self._bell.wait(self._tried(self._look))

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

    def _look(self) -> float:
        waiting = self._store.waiting(server=self._server, limit=AT_ONCE)
        settled = self._starts.settle(waiting)
        self._look_for_late()
        if settled:
            return 0.0
        wait_s = POLL_S if waiting.next_s is None else max(0.0, min(waiting.next_s, POLL_S))
        return max(wait_s, REST_S)

    def _look_for_late(self) -> None:
        if time.monotonic() >= self._next_late_s:
            while self._store.tell_late(limit=_LATE_AT_ONCE) >= _LATE_AT_ONCE and not self._stopping.is_set():
                pass
            self._next_late_s = time.monotonic() + LATE_EVERY_S
