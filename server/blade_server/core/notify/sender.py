"""Sends what waits in the outbox, in threads of its own; every replica has one."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from blade_server.core.notify.deliver import deliver
from blade_server.errors import BladeError, StorageUnavailable
from blade_server.model.policy import NotifyPolicy
from blade_server.storage.outbox import OUTBOX, Outbox, Taken

log = logging.getLogger(__name__)

THREADS = 4
"""So many receivers are sent to side by side, each one message after the other: a slow one holds up no other."""
POLL_S = 10.0
AFTER_FAILURE_S = 1.0
WAITS_S = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Before the second attempt, the third, and so on; the last one again and again."""
_JITTER = 0.2


class Sender:
    """Thread-safe."""

    def __init__(self, policy: NotifyPolicy, outbox: Outbox) -> None:
        """Nothing runs yet."""
        self._policy = policy
        self._outbox = outbox
        self._busy: set[str] = set()
        self._changing = threading.Lock()  # of `_busy`
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sender", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def wake(self) -> None:
        """Messages may wait. Any thread."""
        self._bell.set()

    def ring(self, payloads: Collection[str]) -> None:
        """What was rung. Any thread."""
        if OUTBOX in payloads:
            self.wake()

    def stop(self) -> None:
        """Returns when the attempts under way have ended, which takes as long as one may."""
        self._stopping.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(self._policy.timeout_s + 5.0)

    def _loop(self) -> None:
        with ThreadPoolExecutor(THREADS, "webhook") as pool:
            while not self._stopping.is_set():
                self._bell.clear()
                self._bell.wait(self._tried(pool))

    def _tried(self, pool: ThreadPoolExecutor) -> float:
        """How long to rest."""
        try:
            return self._take(pool)
        except StorageUnavailable:  # logged where it was met
            return AFTER_FAILURE_S
        except Exception:
            log.exception("the sender of notifications met a bug and goes on in %.0f s", POLL_S)
        return POLL_S

    def _take(self, pool: ThreadPoolExecutor) -> float:
        with self._changing:
            busy = frozenset(self._busy)
        free = THREADS - len(busy)
        if not free:
            return POLL_S  # whoever gets done rings
        for taken in self._outbox.take(busy=busy, limit=free):
            with self._changing:
                self._busy.add(taken.receiver.name)
            busy |= {taken.receiver.name}
            pool.submit(self._send, taken)
        if len(busy) >= THREADS:
            return POLL_S
        wait_s = self._outbox.wait_s(busy=busy)
        return POLL_S if wait_s is None else max(0.0, min(wait_s, POLL_S))

    def _send(self, taken: Taken) -> None:
        try:
            attempt = deliver(self._policy, taken.receiver, taken.message)
            if attempt.done:
                self._outbox.delivered(taken, attempt.status)
                return
            again_s = None if attempt.final else max(wait_s(taken.attempt), min(attempt.retry_after_s, WAITS_S[-1]))
            log.info("notification %s: attempt %d: %s", taken.receiver.name, taken.attempt, attempt.detail)
            self._outbox.failed(taken, status=attempt.status, detail=attempt.detail, again_s=again_s)
        except BladeError as exc:
            log.warning("what became of message %s is not written: %s", taken.message.message_id, exc.message)
        except Exception:
            log.exception("notification %s: its message %s met a bug", taken.receiver.name, taken.message.message_id)
        finally:
            with self._changing:
                self._busy.discard(taken.receiver.name)
            self._bell.set()


def wait_s(attempt: int) -> float:
    """How long to wait after so many attempts that failed."""
    base_s = WAITS_S[min(attempt, len(WAITS_S)) - 1]
    return base_s * (1 + _JITTER * random.random())  # noqa: S311
