"""Claims jobs, keeps their leases, and hands them back when this server stops."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from blade_server import logs, tracing
from blade_server.core.engine.attempts import Attempts
from blade_server.core.engine.halt import clock
from blade_server.core.engine.run import EngineTools, Run
from blade_server.errors import StorageUnavailable
from blade_server.metrics.families import CLAIM_DELAY
from blade_server.model import Claim
from blade_server.storage.jobs.rows import QUEUE

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often it looks for jobs without having been rung: a lost ring, or a lease that ran out a moment ago."""
RING_REST_S = 0.1
"""Rings are answered at once, but at most so often: those of running jobs, whose own progress rings too."""
IDLE_REST_S = 0.005
"""The same for a runner that runs nothing and hears that a job waits: who waits for a small job waits for this."""
DEFERENCE_S = 2 * RING_REST_S
"""So much later, for each job that it runs, a runner looks for another: an idle one has heard the ring by then."""
LAST_WORDS_S = 3.0
LONGEST_DEFERENCE_S = 1.0
"""So long after its last look it looks again, however often it was rung meanwhile."""


@dataclass(kw_only=True)
class _Running:
    run: Run
    over: bool = False
    """Nothing more is written of the job here: all that is left is to close its session."""
    closed: threading.Event = field(default_factory=threading.Event)


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
        self._bell = threading.Condition()
        self._rung = self._queue_rung = self._stopping = False  # changed with the bell held
        self._leave_at = 0.0
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start(self) -> None:
        """Begins to claim jobs."""
        self._thread.start()

    def wake(self) -> None:
        """Anything may have changed: look at once, for jobs that wait too."""
        self._call(own=True, queue=True)

    def ring(self, job_ids: Collection[str]) -> None:
        """These have changed. Most rings are the progress of other servers' jobs: no reason to look for one."""
        own, queue = any(job_id in self._running for job_id in job_ids), QUEUE in job_ids
        if own or queue:
            self._call(own=own, queue=queue)

    def _call(self, *, own: bool = False, queue: bool = False, stop: bool = False) -> None:
        with self._bell:
            self._rung |= own
            self._queue_rung |= queue
            self._stopping |= stop
            self._bell.notify()

    def stop(self, timeout_s: float) -> None:
        """Claims nothing more, lets uploads in flight end, hands every job back.

        Blocks at most so long and `LAST_WORDS_S`, also where PostgreSQL gives no answer. If called again, it waits no
        longer than the first time.
        """
        self._call(stop=True)
        self._leave_at = self._leave_at or time.monotonic() + timeout_s + LAST_WORDS_S
        if self._thread.is_alive():
            self._thread.join(max(0.0, self._leave_at - time.monotonic()))

    def _loop(self) -> None:
        next_beat = next_claim = claimed_at = 0.0
        away = False
        while not self._stopping:
            now = time.monotonic()
            rung, queue_rung = self._heard()
            try:
                self._reap()
                if self._leases.clock.wrong:
                    self._let_go()
                if self._at_work() and (now >= next_beat or rung):
                    self._beat()
                    next_beat = now + self._policy.beat_s
                    away = False
                if queue_rung:
                    next_claim = min(now + self._deference_s(), claimed_at + LONGEST_DEFERENCE_S)
                # After an outage a beat comes first: else it would claim its own jobs, whose leases have run out.
                if now >= next_claim and not (away and self._at_work()):
                    pause_s = self._deference_s() if self._claim() else POLL_S
                    claimed_at = time.monotonic()
                    next_claim = claimed_at + pause_s
            except StorageUnavailable:  # logged where it was met; leases run out by themselves
                next_beat = now + POLL_S
                away = True
            except Exception:
                log.exception("the runner met a bug and goes on")
            until = min(next_beat, next_claim) if self._running else next_claim
            self._rest(now, min(until, time.monotonic() + POLL_S))
        self._hand_back()

    def _at_work(self) -> int:
        """How many jobs run here, without those that are over."""
        return sum(not running.over for running in self._running.values())

    def _deference_s(self) -> float:
        """How long those that run fewer jobs may go first: else one process takes what two could share."""
        return min(POLL_S, DEFERENCE_S * self._at_work())

    def _heard(self) -> tuple[bool, bool]:
        """Whether own jobs have rung, and whether the queue has; what rings later is for the next turn."""
        with self._bell:
            rung, queue_rung = self._rung, self._queue_rung
            self._rung = self._queue_rung = False
        return rung, queue_rung

    def _rest(self, turned_at: float, until: float) -> None:
        """From a turn to the next: until it is time, or something rings."""
        with self._bell:
            while not self._stopping:
                due = max(until, turned_at + RING_REST_S)
                if self._rung or self._queue_rung:
                    due = turned_at + RING_REST_S
                if self._queue_rung and not self._at_work():
                    due = turned_at + IDLE_REST_S
                wait_s = due - time.monotonic()
                if wait_s <= 0:
                    return
                self._bell.wait(wait_s)

    def _reap(self) -> None:
        for job_id in [job_id for job_id, running in self._running.items() if running.closed.is_set()]:
            del self._running[job_id]

    def _beat(self) -> None:
        at_work = {job_id: running for job_id, running in self._running.items() if not running.over}
        asked_at = clock()
        flags = self._leases.beat(self.owner, [running.run.claim for running in at_work.values()], self._policy.lease_s)
        for job_id, running in at_work.items():
            if job_id in flags:
                running.run.renew(asked_at + self._policy.lease_s, flags[job_id])
            elif not running.over:
                running.run.lose()
        with suppress(StorageUnavailable):  # then holds of other replicas are heard of at the next beat
            self._tools.endpoints.refresh()

    def _has_room(self) -> bool:
        """Held pauses take up no place; when as many are held as may run, the oldest lets its cursor go."""
        held = [running for running in self._running.values() if running.run.holding]
        if len(held) > self._policy.max_running_jobs:
            held[0].run.stop()
        return len(self._running) - len(held) < self._policy.max_running_jobs

    def _claim(self) -> bool:
        """Whether it got a job."""
        if not self._has_room() or self._stopping:
            return False
        asked_at = clock()
        claim = self._leases.claim_next(self.owner, self._policy.lease_s)
        if claim is None:
            return False
        log.info("job %s: claimed, epoch %d", claim.job_id, claim.epoch)
        if claim.epoch == 1 and claim.job.start_time is not None:
            CLAIM_DELAY.observe((claim.job.start_time - claim.job.create_time).total_seconds())
        if claim.job_id in self._running:
            self._running[claim.job_id].run.lose()
        run = Run(self._tools, claim, asked_at + self._policy.lease_s)
        running = self._running[claim.job_id] = _Running(run=run)
        try:
            threading.Thread(target=self._live, args=(running,), name=f"job {claim.job_id}", daemon=True).start()
        except RuntimeError:  # no more threads: the lease runs out
            running.closed.set()
            raise
        self._call(own=True)  # a cancel may have rung before it was known here
        return True

    def _live(self, running: _Running) -> None:
        """The life of a job's thread. Others need not wait until the session of a job that is over is closed."""
        with ExitStack() as leaving:
            leaving.callback(self._call, queue=True)  # there is room for another
            leaving.callback(running.closed.set)
            leaving.enter_context(_seen(running.run.claim))
            attempts = Attempts(running.run)
            leaving.callback(attempts.close)
            leaving.callback(self._call, queue=True)  # nobody is deferred to for its sake any more
            leaving.callback(setattr, running, "over", True)
            attempts.run()

    def _let_go(self) -> None:
        """Hands every job back to servers whose clock is right; this one looks for none until its own is."""
        for running in self._running.values():
            if not running.over:
                running.run.stop()

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
                running.closed.wait(max(0.0, until - time.monotonic()))
            self._reap()
        for job_id in self._running:
            log.warning("job %s: uploads still in flight; its lease runs out and another server goes on", job_id)


@contextmanager
def _seen(claim: Claim) -> Iterator[None]:
    """In the log and in traces, whatever this thread does inside, and those that it starts, is for this job."""
    job = claim.job
    attributes: tracing.Attributes = {
        "blade.job.id": job.job_id,
        "blade.job.kind": job.kind,
        "blade.job.epoch": claim.epoch,
        "blade.source": job.spec.source,
        "blade.destination": job.spec.destination,
        "blade.sync": "" if claim.task is None else claim.task.sync,
    }
    with (
        logs.about(job_id=job.job_id, source=job.spec.source, principal=job.starter),
        tracing.continued("job", claim.trace, attributes),
    ):
        yield
