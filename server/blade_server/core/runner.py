"""Claims jobs, keeps their leases, and hands them back when this server stops."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from blade_server.core.control import clock
from blade_server.core.pipeline import Parts, Pipeline
from blade_server.errors import StorageUnavailable
from blade_server.storage.claims import Claim
from blade_server.storage.jobs import JobStore

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often it looks for jobs without having been rung: a lost ring, or a lease that ran out a moment ago."""
RING_REST_S = 0.1
"""Rings are answered at most so often."""
PRUNE_EVERY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class _Running:
    claim: Claim
    pipeline: Pipeline
    thread: threading.Thread


class Runner:
    """Runs up to `settings.max_running_jobs` jobs, one pipeline with its own threads each.

    One thread here does everything in turn: beats (from its own clock, so that a slow batch is not a dead worker), then
    claims, then prunes. `owner` names this server in leases and histories.
    """

    def __init__(self, parts: Parts, jobs: JobStore) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._jobs = jobs
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._running: dict[str, _Running] = {}
        self._rung = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start(self) -> None:
        """Begins to claim jobs."""
        self._thread.start()

    def wake(self) -> None:
        """Something changed: look at once."""
        self._rung.set()

    def stop(self, timeout_s: float) -> None:
        """Claims nothing more, lets uploads in flight end, hands every job back. Blocks at most so long."""
        self._stopping.set()
        self._rung.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s + 5)

    def _loop(self) -> None:
        next_beat = next_prune = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                if self._reap_and_count() and (now >= next_beat or self._rung.is_set()):
                    self._rung.clear()
                    self._beat()
                    next_beat = now + self._settings.lease_beat_s
                self._rung.clear()
                self._claim()
                if now >= next_prune:
                    self._prune()
                    next_prune = now + PRUNE_EVERY_S
            except StorageUnavailable:
                pass  # logged where it was met; leases run out by themselves
            except Exception:
                log.exception("the runner met a bug and goes on")
            self._rest(min(POLL_S, max(0.0, next_beat - time.monotonic())) if self._running else POLL_S)
        self._hand_back()

    def _rest(self, seconds: float) -> None:
        self._rung.wait(max(RING_REST_S, seconds))
        if not self._stopping.is_set() and self._rung.is_set():
            self._stopping.wait(RING_REST_S)

    def _reap_and_count(self) -> int:
        for job_id, running in list(self._running.items()):
            if not running.thread.is_alive():
                del self._running[job_id]
        return len(self._running)

    def _beat(self) -> None:
        claims = [running.claim for running in self._running.values()]
        asked_at = clock()
        flags = self._parts.claims.beat(self.owner, claims, self._settings.lease_s)
        self._parts.throttle.refresh()
        for job_id, running in self._running.items():
            if job_id in flags:
                running.pipeline.renew(asked_at + self._settings.lease_s, flags[job_id])
            elif running.thread.is_alive():
                running.pipeline.lose()

    def _has_room(self) -> bool:
        """Held pauses take up no place; when as many are held as may run, the oldest lets its cursor go."""
        held = [running for running in self._running.values() if running.pipeline.holding]
        if len(held) > self._settings.max_running_jobs:
            held[0].pipeline.stop()
        return len(self._running) - len(held) < self._settings.max_running_jobs

    def _claim(self) -> None:
        while self._has_room() and not self._stopping.is_set():
            asked_at = clock()
            claim = self._parts.claims.claim_next(self.owner, self._settings.lease_s)
            if claim is None:
                return
            log.info("job %s: claimed, epoch %d", claim.job_id, claim.epoch)
            pipeline = Pipeline(self._parts, claim, asked_at + self._settings.lease_s)
            thread = threading.Thread(target=pipeline.run, name=f"job {claim.job_id}", daemon=True)
            self._running[claim.job_id] = _Running(claim=claim, pipeline=pipeline, thread=thread)
            thread.start()

    def _prune(self) -> None:
        self._jobs.drop_final_ledgers()
        while self._jobs.prune(older_than_s=self._settings.job_retention_days * 86400) and not self._stopping.is_set():
            pass

    def _hand_back(self) -> None:
        for running in self._running.values():
            running.pipeline.stop()
        deadline = time.monotonic() + self._settings.drain_timeout_s
        while self._reap_and_count() and time.monotonic() < deadline:
            with suppress(StorageUnavailable):
                self._beat()  # uploads in flight may take longer than the lease
            for running in self._running.values():
                running.thread.join(min(self._settings.lease_beat_s, max(0.0, deadline - time.monotonic())))
        for job_id in self._running:
            log.warning("job %s: uploads still in flight; its lease runs out and another server goes on", job_id)
