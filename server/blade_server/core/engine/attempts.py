"""The life of one claim: passes over the result, again after a transient failure or a pause, until the job is final.

The order that makes it safe: a batch's keys are in the ledger before it is sent (intend); what became of it is
committed after, together with errors and counters (record, every 0.2 s). What was intended and not recorded when a
server dies is looked up in the catalog by its successor.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import chain

from blade_server import tracing
from blade_server.core import retry
from blade_server.core.engine.halt import Halt, HaltedError
from blade_server.core.engine.passes.local import LocalPasses
from blade_server.core.engine.read.reader import Pass
from blade_server.core.engine.run import Run
from blade_server.core.engine.run_events import RunEvents
from blade_server.core.engine.sync.absence import Absence
from blade_server.core.engine.sync.catalog_reads import CatalogReads
from blade_server.core.engine.sync.feed_deletes import FeedDeletes
from blade_server.core.engine.sync.guards import Reading
from blade_server.core.engine.sync.sync_job import MAX_DIRTY, SyncJob
from blade_server.core.engine.verification import Verification
from blade_server.errors import BladeError, LeaseLost, Reason, StatementCancelled, StorageUnavailable
from blade_server.model import Action, JobKind, Status, WaitReason
from blade_server.warehouse import Warehouse

log = logging.getLogger(__name__)


class Attempts:
    """`run` is the life of a job's own thread."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._control = run.control
        self._passes = LocalPasses(run)
        self._events = RunEvents(run)
        self._ended = False

    def run(self) -> None:
        """Runs the job until it is final, handed back or lost; `close` comes after it. Never raises."""
        self._live()
        run = self._run
        if self._ended and run.sync is not None and run.sync.task.writes:
            run.sync.fold(run.settle_s, lambda: not run.stopping)

    def _live(self) -> None:
        try:
            self._run.obey(self._run.flags)
            self._work()
        except HaltedError:
            self._leave()
        except LeaseLost as exc:
            log.info("%s", exc)
        except BaseException as exc:
            self._fail(exc)

    def close(self) -> None:
        """Lets go of what the job used; nothing is written any more. May take as long as the warehouse does."""
        self._control.halt(Halt.LOST)
        self._passes.leave()
        self._passes.close()
        self._run.query.close()
        self._run.close_destination()

    def _work(self) -> None:
        attempt = 0
        while True:
            before = self._run.progress.processed
            failure: BladeError | None = None
            try:
                self._attempt()
                return
            except (HaltedError, StatementCancelled):
                pass
            except LeaseLost:
                raise
            except BladeError as exc:
                failure = exc
            self._passes.drain()
            self._sit_out_pauses()
            if failure is None:
                continue
            attempt = 1 if self._run.progress.processed > before else attempt + 1
            self._back_off(failure, attempt)

    def _sit_out_pauses(self) -> None:
        """Returns when something may start, after any number of pauses. Raises HaltedError for every other halt."""
        while True:
            if self._control.halted is Halt.PAUSE:
                self._pause()
            try:
                self._control.check()  # may wait for the lease, and a pause may come in meanwhile
                return
            except HaltedError as exc:
                if exc.why is not Halt.PAUSE:
                    raise

    def _attempt(self) -> None:
        run = self._run
        run.open_destination()
        self._events.begin()
        if run.sync is not None:
            run.sync.prepare(self._control, run.settle_s)
            run.sync.reads(CatalogReads(run.catalog, run.claim.job.source.data_source, self._control, run.retry))
        self._let_settle()
        warehouse = run.query.connect()
        self._plan(warehouse)
        reading = run.query.reading(warehouse, first_block=run.next_block, ceiling=run.endpoint.destination.ceiling)
        self._let_deletes_settle()
        verification = self._verification(reading)
        if verification is not None and run.claim.task is not None and run.claim.task.repair:
            self._through(verification.take_in())
            self._through(verification.compare())
        self._through(self._passes.deliver(reading))
        gone = run.query.check_whole(warehouse, self._passes.rows_read, run.progress.processed)
        if gone:  # a retry ends with as many rows as its parent's errors
            run.recorder.skip(gone)
            run.record()
        if run.sync is not None:
            if verification is not None:
                self._verify(verification, run.sync)
            else:
                self._delete_absent(run.sync, warehouse)
            self._finish(Status.COMPLETED, run.sync.words())
            return
        done = run.progress
        words = f"Completed: {done.success} uploaded, {done.error} failed, {done.skipped} skipped"
        if gone:
            words += f" ({gone} of them not found again in the source)"
        self._finish(Status.COMPLETED, words)

    def _through(self, turns: Iterator[None]) -> None:
        """To the end of a pass, with any number of pauses."""
        for _ in turns:
            if self._control.halted is Halt.PAUSE:
                self._pause()

    def _verification(self, reading: Pass) -> Verification | None:
        sync = self._run.sync
        return Verification(self._run, sync, reading) if sync and sync.task.kind is JobKind.VERIFY else None

    def _verify(self, verification: Verification, sync: SyncJob) -> None:
        if self._passes.seen is not None:
            sync.read(self._passes.seen)
        if not sync.task.repair:
            self._through(verification.compare())
            self._through(verification.look_again())
        sync.show_verified()

    def _delete_fed(self, sync: SyncJob, warehouse: Warehouse) -> None:
        """What the feed took away, and what earlier runs noted and no row has yet."""
        run, plan = self._run, sync.findings.plan
        feed, fed = run.query.feed(warehouse), FeedDeletes(sync, sync.known)
        can_delete = run.catalog.capabilities().deletes
        noted = fed.noted_before(MAX_DIRTY + 1)
        some = noted[:MAX_DIRTY]
        there = feed.there(plan, some)
        gone = chain([[item_id for item_id in some if item_id not in there]], feed.gone(plan))
        if sync.task.kind is JobKind.PLAN:
            fed.foresee(gone, sync.samples, can_delete=can_delete)
            sync.foresee(None, can_delete=can_delete)
            return
        theirs = [fed.note(item_ids) for item_ids in gone]
        if len(noted) <= MAX_DIRTY:
            fed.forget_others()
        self._passes.leave()
        for keys in theirs:
            self._forget(keys)
        self._through(self._passes.delete(fed.to_delete(run.query.deletes.done, can_delete=can_delete)))
        self._passes.leave()

    def _delete_absent(self, sync: SyncJob, warehouse: Warehouse) -> None:
        """After a reading of all rows: what it did not show, as far as that is asked for and no guard holds it back."""
        run, seen = self._run, self._passes.seen
        assert seen is not None
        sync.read(seen)
        if sync.reads_feed:
            self._delete_fed(sync, warehouse)
            return
        whole = sync.shows_absence
        can_delete = whole and run.catalog.capabilities().deletes
        reading = Reading(
            rows=self._passes.rows_read,
            announced=sync.findings.plan.announced,
            rows_without_id=seen.rows_without_id,
            spec_changed=sync.state.key_hash != sync.task.key_hash,
            above_ceiling=seen.above_ceiling,
        )
        self._passes.leave()
        if whole:
            sync.give_up()
        if sync.task.kind is JobKind.PLAN:
            sync.foresee(reading if whole else None, can_delete=can_delete)
            return
        if not whole:
            return
        absence = Absence(sync, reading, run.query.deletes.done)
        absent = absence.to_delete(can_delete=can_delete)
        self._through(self._passes.delete(absent))
        self._passes.leave()
        if absence.trusted:
            for some in absence.never_sent():
                self._forget(some.keys)

    def _forget(self, keys: Sequence[bytes]) -> None:
        """Items that need no delete, and that the sync knows no longer."""
        if keys:
            self._run.recorder.forget(self._run.next_block, keys)
            self._run.next_block += 1
            self._run.record()

    def _let_deletes_settle(self) -> None:
        """Rows that can be others now may be there again, while an earlier claim's deletes of them are at work."""
        run = self._run
        wait_s = run.settled_at - time.monotonic()
        if wait_s > 0 and run.query.deletes.open and not run.query.pinned:
            detail = "deletes that the server before may have begun have time to end"
            self._control.wait(wait_s, WaitReason.RECOVERING, detail)

    def _finish(self, status: Status, operation: str, error: Reason | None = None, message: str = "") -> None:
        run, end = self._run, None
        if run.sync is not None:
            settled_at = max(self._passes.settled_at, run.settled_at)
            end = run.sync.end(max(0.0, settled_at - time.monotonic()), completed=status is Status.COMPLETED)
        run.recorder.finish(status, operation, error, message, end)
        tracing.note({"blade.job.status": status, "error.type": error or ""}, failed=status is Status.FAILED)
        self._ended = True
        self._events.end(status, error)

    def _let_settle(self) -> None:
        """All rows of a doubtful job are uncertain, and there is no room to hold them all back. Raises HaltedError."""
        run = self._run
        wait_s = run.settled_at - time.monotonic()
        if run.claim.doubtful and wait_s > 0 and not run.replaces():
            detail = "uploads that a server before the restore may have begun have time to end"
            run.record(WaitReason.RECOVERING, detail)
            self._control.wait(wait_s, WaitReason.RECOVERING, detail)

    def _plan(self, warehouse: Warehouse) -> None:
        """What to run and how many rows to expect; made once for a job and then kept."""
        run = self._run
        if not run.query.planned:
            if not run.recorder.shows(WaitReason.WAREHOUSE_STARTING):
                run.record(WaitReason.WAREHOUSE_STARTING, "counting the rows")
            plan = run.query.plan(warehouse)
            run.recorder.plan(plan, run.query.total(plan))
            run.query.keep(plan)  # only what is stored counts: a successor must see the same rows
        run.progress.total = run.query.total()

    def _back_off(self, failure: BladeError, attempt: int) -> None:
        policy = self._run.retry
        if not failure.transient or attempt > policy.attempts:
            raise failure
        seconds = retry.delay_s(attempt, policy.base_s, failure)
        detail = f"attempt {attempt + 1} of {policy.attempts + 1} in {seconds:.1f} s: {failure.message}"
        self._run.record(WaitReason.RETRY_BACKOFF, detail)
        try:
            self._control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)
        except HaltedError:
            return  # the next attempt finds out

    # --------------------------------------------------------------------------------------------------- pauses

    def _pause(self) -> None:
        """From the request to the end of the pause; then the job goes on, or is halted for another reason."""
        run, passes = self._run, self._passes
        while passes.flying and self._control.halted is Halt.PAUSE:
            passes.take(0.1)
            if run.recorder.due(self._control.why_waiting):
                run.record(*self._control.why_waiting())
        if self._control.halted is not Halt.PAUSE:
            return
        run.record_rest()
        if not run.paused():
            self._control.go_on()
            return
        self._hold()
        run.limiter.forget()
        run.progress.went_on()

    def _hold(self) -> None:
        """Keeps the cursor of a paused job for a while; resumed and paused again, it is PAUSED anew."""
        run = self._run
        hold_until = time.monotonic() + run.tools.policy.pause_hold_s
        run.holding = True
        try:
            while self._control.halted is Halt.PAUSE:
                left = hold_until - time.monotonic()
                if left <= 0:
                    self._control.halt(Halt.STOP)
                    return
                if run.flags.pending_action is Action.PAUSE and not run.paused():
                    self._control.go_on()
                    return
                self._passes.take(min(left, 60.0))
        finally:
            run.holding = False

    # -------------------------------------------------------------------------------------------------- endings

    def _leave(self) -> None:
        """Ends what runs here for the reason the job was halted for."""
        run = self._run
        try:
            match self._control.halted:
                case Halt.CANCEL:
                    self._finish(Status.CANCELLED, "Cancelled")
                case Halt.STOP:
                    if run.flags.status is Status.RUNNING:
                        run.recorder.unsent(self._passes.returned)
                        run.record()
                    run.recorder.release(
                        "its server was stopping, its clock was wrong, or the pause lasted longer than a cursor is held"
                    )
                case Halt.FAIL:
                    self._fail(self._passes.failure or RuntimeError("halted without an error"))
        except LeaseLost as exc:
            log.info("%s", exc)

    def _fail(self, exc: BaseException) -> None:
        try:
            self._control.halt(Halt.FAIL)
            self._passes.drain()
            if self._run.sync is not None:  # what its next job need not look up
                self._run.recorder.unsent(self._passes.returned)
                self._run.record_rest()
            if self._clock_is_wrong():
                log.warning("job %s is handed back: %s", self._run.claim.job_id, exc)
                self._run.recorder.release("it failed on a server whose clock is wrong")
                return
            if isinstance(exc, BladeError):
                reason, message = exc.reason, exc.message
                if reason is Reason.TOO_MANY_ERRORS:  # more than when it was raised: what was in flight has come in
                    message = self._run.progress.too_many_errors(self._run.limits) or message
            else:
                incident = secrets.token_hex(4)
                log.error("incident %s: job %s met a bug", incident, self._run.claim.job_id, exc_info=exc)
                reason, message = Reason.INTERNAL, f"a bug in BLADE; the server's log tells more at incident {incident}"
            self._finish(Status.FAILED, "Failed", reason, message)
        except LeaseLost as lost:
            log.info("%s", lost)

    def _clock_is_wrong(self) -> bool:
        """Whether this machine's clock may be the reason: links and tokens that are good look expired to it."""
        try:
            return not self._run.tools.stores.leases.compare_clocks()
        except StorageUnavailable:
            return self._run.tools.stores.leases.clock.wrong
