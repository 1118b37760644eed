"""Claims jobs, keeps their leases, and hands them back when this server stops."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from blade_server.core.engine.attempts import Attempts
from blade_server.core.engine.halt import clock
from blade_server.core.engine.run import EngineTools, Run
from blade_server.errors import StorageUnavailable
from blade_server.storage.jobs.rows import QUEUE

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often it looks for jobs without having been rung: a lost ring, or a lease that ran out a moment ago."""
RING_REST_S = 0.1
"""Rings are answered at most so often."""
DEFERENCE_S = 2 * RING_REST_S
"""So much later, for each job that it runs, a runner looks for another: an idle one has heard the ring by then."""
LONGEST_DEFERENCE_S = 1.0
"""So long after its last look it looks again, however often it was rung meanwhile."""


@dataclass(frozen=True, kw_only=True)
class _Running:
    run: Run
    thread: threading.Thread


class Runner:
    """Runs up to `max_running_jobs` jobs, each with threads of its own.

    One thread here does both in turn: beats (from its own clock, so that a slow batch is not a dead worker), then
    claims. `owner` names this server in leases and histories.
    """

    def __init__(self, tools: EngineTools) -> None:
        """Nothing runs yet."""
        self._tools = tools
        self._policy = tools.policy
        self._leases = tools.stores.leases
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._running: dict[str, _Running] = {}
        self._rung = threading.Event()
        self._queue_rung = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start(self) -> None:
        """Begins to claim jobs."""
        self._thread.start()

    def wake(self) -> None:
        """Anything may have changed: look at once, for jobs that wait too."""
        self._queue_rung.set()
        self._rung.set()

    def ring(self, job_ids: Collection[str]) -> None:
        """These have changed. Most rings are the progress of other servers' jobs: no reason to look for one."""
        if QUEUE in job_ids:
            self.wake()
        elif any(job_id in self._running for job_id in job_ids):
            self._rung.set()

    def stop(self, timeout_s: float) -> None:
        """Claims nothing more, lets uploads in flight end, hands every job back. Blocks at most so long."""
        self._stopping.set()
        self._rung.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s + 5)

    def _loop(self) -> None:
        next_beat = next_claim = claimed_at = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            rung, queue_rung = _heard(self._rung), _heard(self._queue_rung)  # what rings later is for the next turn
            try:
                ended = self._reap()
                if self._running and (now >= next_beat or rung):
                    self._beat()
                    next_beat = now + self._policy.beat_s
                if ended or queue_rung:
                    next_claim = min(now + self._deference_s(), claimed_at + LONGEST_DEFERENCE_S)
                if now >= next_claim:
                    pause_s = self._deference_s() if self._claim() else POLL_S
                    claimed_at = time.monotonic()
                    next_claim = claimed_at + pause_s
            except StorageUnavailable:  # logged where it was met; leases run out by themselves
                next_beat = now + POLL_S
            except Exception:
                log.exception("the runner met a bug and goes on")
            until = min(next_beat, next_claim) if self._running else next_claim
            self._rest(min(POLL_S, max(0.0, until - time.monotonic())))
        self._hand_back()

    def _deference_s(self) -> float:
        """How long those that run fewer jobs may go first: else one process takes what two could share."""
        return min(POLL_S, DEFERENCE_S * len(self._running))

    def _rest(self, seconds: float) -> None:
        self._rung.wait(max(RING_REST_S, seconds))
        if not self._stopping.is_set() and self._rung.is_set():
            self._stopping.wait(RING_REST_S)

    def _reap(self) -> bool:
        ended = [job_id for job_id, running in self._running.items() if not running.thread.is_alive()]
        for job_id in ended:
            del self._running[job_id]
        return bool(ended)

    def _beat(self) -> None:
        claims = [running.run.claim for running in self._running.values()]
        asked_at = clock()
        flags = self._leases.beat(self.owner, claims, self._policy.lease_s)
        for job_id, running in self._running.items():
            if job_id in flags:
                running.run.renew(asked_at + self._policy.lease_s, flags[job_id])
            elif running.thread.is_alive():
                running.run.lose()
        with suppress(StorageUnavailable):  # then holds of other replicas are heard of at the next beat
            self._tools.throttle.refresh()

    def _has_room(self) -> bool:
        """Held pauses take up no place; when as many are held as may run, the oldest lets its cursor go."""
        held = [running for running in self._running.values() if running.run.holding]
        if len(held) > self._policy.max_running_jobs:
            held[0].run.stop()
        return len(self._running) - len(held) < self._policy.max_running_jobs

    def _claim(self) -> bool:
        """Whether it got a job."""
        if not self._has_room() or self._stopping.is_set():
            return False
        asked_at = clock()
        claim = self._leases.claim_next(self.owner, self._policy.lease_s)
        if claim is None:
            return False
        log.info("job %s: claimed, epoch %d", claim.job_id, claim.epoch)
        run = Run(self._tools, claim, asked_at + self._policy.lease_s)
        thread = threading.Thread(target=Attempts(run).run, name=f"job {claim.job_id}", daemon=True)
        self._running[claim.job_id] = _Running(run=run, thread=thread)
        thread.start()
        self._rung.set()  # a cancel may have rung before it was known here
        return True

    def _hand_back(self) -> None:
        for running in self._running.values():
            running.run.stop()
        deadline = time.monotonic() + self._policy.drain_s
        self._reap()
        while self._running and time.monotonic() < deadline:
            with suppress(StorageUnavailable):
                self._beat()  # uploads in flight may take longer than the lease
            until = min(deadline, time.monotonic() + self._policy.beat_s)
            for running in self._running.values():
                running.thread.join(max(0.0, until - time.monotonic()))
            self._reap()
        for job_id in self._running:
            log.warning("job %s: uploads still in flight; its lease runs out and another server goes on", job_id)


def _heard(bell: threading.Event) -> bool:
    """Whether it has rung; silences it. A ring that comes in between is not lost."""
    if not bell.is_set():
        return False
    bell.clear()
    return True
