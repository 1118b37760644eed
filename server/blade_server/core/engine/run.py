"""One job from its first batch to its last: read, transform, upload, record.

    reader thread --chunks--> this thread --batches--> upload workers
                               |       ^                   |
                       intend, |       +----- reports -----+
                       record  v
                           the ledger

The order that makes it safe: a batch's keys are in the ledger before it is sent (intend); what became of it is
committed after, together with errors and counters (record, every 0.2 s). What was intended and not recorded when a
server dies is looked up in the catalog by its successor.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import dataclass
from queue import Empty, Queue

from blade_server.catalog.client import Catalog
from blade_server.catalog.forms.multipart import Form
from blade_server.core import retry
from blade_server.core.engine.batches import Report
from blade_server.core.engine.delivery import Delivery
from blade_server.core.engine.halt import Control, Halt, HaltedError
from blade_server.core.engine.read.job_query import JobQuery
from blade_server.core.engine.read.reader import Chunk, End
from blade_server.core.engine.record.progress import Progress
from blade_server.core.engine.record.recorder import Recorder
from blade_server.core.engine.upload.pacing import Limiter, Pace, Throttle
from blade_server.core.engine.upload.pool import UploadPool
from blade_server.core.engine.upload.uploader import Uploader, UploadPolicy
from blade_server.errors import BladeError, LeaseLost, Reason, StatementCancelled
from blade_server.model import Action, Status, WaitReason
from blade_server.settings import Settings
from blade_server.storage.engine.claims import Claim, ClaimStore, Flags, Plan
from blade_server.storage.engine.ledger import LedgerStore
from blade_server.storage.engine.paces import PaceStore
from blade_server.storage.engine.records import RecordStore
from blade_server.warehouse.databricks import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What pipelines work with; the same for all jobs of a server."""

    settings: Settings
    claims: ClaimStore
    ledgers: LedgerStore
    records: RecordStore
    paces: PaceStore
    catalog: Catalog
    throttle: Throttle


class Pipeline:
    """Runs one claim. `run` is the life of its thread; `renew`, `lose` and `stop` may be called from any thread."""

    def __init__(self, parts: Parts, claim: Claim, lease_until: float) -> None:
        self._parts = parts
        self._claim = claim
        self._spec = claim.job.spec
        self._limits = self._spec.limits
        self._form = Form(claim.job.source.data_source)
        self._control = Control(lease_until)
        self._progress = Progress(claim.job, self._spec.batch_size)
        self._recorder = Recorder(
            parts.claims,
            claim,
            self._control,
            self._progress,
            self._obey,
            ledgers=parts.ledgers,
            records=parts.records,
        )
        self._inbox: Queue[Chunk | End | Report | BaseException | None] = Queue()
        self._flags_lock = threading.Lock()
        self._flags = _flags_of(claim)
        self._holding = False
        self._limiter = Limiter(self._limits.items_per_second)
        self._pool = UploadPool(self._make_uploader(), self._spec.workers, claim.job_id)
        self._delivery: Delivery | None = None
        self._query = JobQuery(
            claim,
            settings=parts.settings,
            ledgers=parts.ledgers,
            control=self._control,
            progress=self._progress,
            recorder=self._recorder,
        )
        self._settled_at = time.monotonic() + (parts.settings.catalog_timeout_s if claim.taken_over else 0.0)
        self._next_block = claim.epoch << 32
        self._failure: BaseException | None = None

    def _make_uploader(self) -> Uploader:
        settings, source, throttle = self._parts.settings, self._claim.job.source, self._parts.throttle
        return Uploader(
            catalog=self._parts.catalog,
            data_source=self._form.data_source,
            scope=f"{self._claim.job_id}/{secrets.token_hex(8)}",
            policy=UploadPolicy(
                retry_attempts=settings.retry_attempts,
                retry_base_s=settings.retry_base_s,
                patience_s=settings.catalog_patience_s,
                skip_existing=self._spec.skip_existing,
            ),
            pace=Pace(self._limiter, throttle, self._parts.paces, source.name, source.config.items_per_second),
            throttle=throttle,
            control=self._control,
            inbox=self._inbox.put,
        )

    # -------------------------------------------------------------------------------- from the runner's thread

    def renew(self, lease_until: float, flags: Flags) -> None:
        """The lease was renewed; this is what callers want."""
        self._control.renew(lease_until)
        self._obey(flags)

    def lose(self) -> None:
        """Another server has the job, or a caller ended it."""
        self._halt(Halt.LOST)

    def stop(self) -> None:
        """This server is stopping, or needs the place of a held pause: hand the job back."""
        self._halt(Halt.STOP)

    @property
    def holding(self) -> bool:
        """Whether the job is paused and only its cursor is held: it takes up no place of a running job."""
        return self._holding

    def _obey(self, flags: Flags) -> None:
        with self._flags_lock:  # a beat and a record may come back in the other order
            if flags.revision < self._flags.revision:
                return
            self._flags = flags
            if flags.limits != self._limits:
                self._limits = flags.limits
                self._limiter.set_rate(flags.limits.items_per_second)
            if flags.pending_action is Action.CANCEL:
                self._halt(Halt.CANCEL)
            elif flags.pending_action is Action.PAUSE or flags.status is Status.PAUSED:
                self._halt(Halt.PAUSE)
                self._inbox.put(None)  # a held job may have been resumed and paused again in between
            elif self._control.halted is Halt.PAUSE:
                self._control.go_on()
                self._inbox.put(None)

    def _halt(self, why: Halt) -> None:
        if self._control.halted is why:
            return
        self._control.halt(why)
        self._query.cancel(keep_cursor=why is Halt.PAUSE)  # a paused job keeps its cursor, but waits for no count
        self._inbox.put(None)

    # ---------------------------------------------------------------------------------------- the job's thread

    def run(self) -> None:
        """Runs the job until it is final, handed back or lost; `close` comes after it. Never raises."""
        try:
            self._obey(self._flags)
            self._recorder.begin()
            self._work()
        except HaltedError:
            self._leave()
        except LeaseLost as exc:
            log.info("%s", exc)
        except BaseException as exc:
            self._fail(exc)

    def close(self) -> None:
        """Lets go of what the job used; nothing is written any more. May take as long as the warehouse does."""
        self._stop_reading()
        self._control.halt(Halt.LOST)
        self._pool.close()
        self._query.close()

    def _work(self) -> None:
        """Passes over the result, again after a transient failure or a pause, until one gets to its end."""
        attempt = 0
        while True:
            before = self._progress.processed
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
            self._drain()
            self._sit_out_pauses()
            if failure is None:
                continue
            attempt = 1 if self._progress.processed > before else attempt + 1
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
        warehouse = self._query.connect()
        plan = self._query.plan(warehouse)
        delivery = self._deliver(warehouse, plan)
        self._query.check_whole(warehouse, delivery.rows_read)
        done = self._progress
        words = f"Completed: {done.success} uploaded, {done.error} failed, {done.skipped} skipped"
        if self._query.gone:
            words += f" ({self._query.gone} of them not found again in the source)"
        self._recorder.finish(Status.COMPLETED, words)

    def _back_off(self, failure: BladeError, attempt: int) -> None:
        settings = self._parts.settings
        if not failure.transient or attempt > settings.retry_attempts:
            raise failure
        seconds = retry.delay_s(attempt, settings.retry_base_s, failure)
        detail = f"attempt {attempt + 1} of {settings.retry_attempts + 1} in {seconds:.1f} s: {failure.message}"
        self._recorder.record(WaitReason.RETRY_BACKOFF, detail)
        try:
            self._control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)
        except HaltedError:
            return  # the next attempt finds out

    # ------------------------------------------------------------------------------- one pass over the result

    def _deliver(self, warehouse: Warehouse, plan: Plan) -> Delivery:
        """Reads the result once and gets every new row of it recorded. Raises what ended it early."""
        self._failure = None
        delivery = self._delivery = self._begin(warehouse, plan)
        delivery.start()
        self._progress.went_on()
        while not delivery.done:
            if self._control.halted is Halt.PAUSE:
                self._pause()
            self._raise_if_over()
            delivery.dispatch()
            waits = delivery.waits_for() or self._control.why_waiting()
            if self._recorder.due(waits[0]):
                self._recorder.record(*waits)
                self._check_errors()
            self._take(0.1)
        self._recorder.record()
        self._check_errors()
        return delivery

    def _begin(self, warehouse: Warehouse, plan: Plan) -> Delivery:
        return Delivery(
            warehouse=warehouse,
            statement=plan.statement,
            transform=self._query.transform,
            ledger=self._query.ledger(self._next_block),
            only=self._query.only,
            inbox=self._inbox.put,
            catalog=self._parts.catalog,
            settled_at=self._settled_at,
            form=self._form,
            batch_size=self._spec.batch_size,
            first_block=self._next_block,
            recorder=self._recorder,
            pool=self._pool,
            name=self._claim.job_id,
        )

    def _raise_if_over(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._control.halted not in {None, Halt.PAUSE}:
            raise HaltedError(self._control.halted)

    def _check_errors(self) -> None:
        limit = self._progress.too_many_errors(self._limits)
        if limit is not None:
            raise BladeError(limit, reason=Reason.TOO_MANY_ERRORS)

    def _take(self, timeout_s: float) -> None:
        """Takes in what threads have to tell, waiting at most so long for the first word."""
        try:
            message = self._inbox.get(timeout=timeout_s) if timeout_s else self._inbox.get_nowait()
            while True:
                self._take_in(message)
                message = self._inbox.get_nowait()
        except Empty:
            return

    def _take_in(self, message: Chunk | End | Report | BaseException | None) -> None:
        match message:
            case Report():
                self._recorder.add(message)
                if message.left:
                    self._pool.take_back(message.batch)
            case Chunk() | End():
                if self._delivery is not None:
                    self._delivery.take(message)
            case BaseException():
                self._failure = self._failure or message

    # --------------------------------------------------------------------------------------------------- endings

    def _pause(self) -> None:
        """From the request to the end of the pause; then the job goes on, or is halted for another reason."""
        while self._pool.flying and self._control.halted is Halt.PAUSE:
            self._take(0.1)
            waits = self._control.why_waiting()
            if self._recorder.due(waits[0]):
                self._recorder.record(*waits)
        if self._control.halted is not Halt.PAUSE:
            return
        self._recorder.record_rest()
        if not self._recorder.paused():
            self._control.go_on()
            return
        self._hold()
        self._limiter.forget()
        self._progress.went_on()

    def _hold(self) -> None:
        """Keeps the cursor of a paused job for a while; resumed and paused again, it is PAUSED anew."""
        hold_until = time.monotonic() + self._parts.settings.pause_hold_s
        self._holding = True
        try:
            while self._control.halted is Halt.PAUSE:
                left = hold_until - time.monotonic()
                if left <= 0:
                    self._control.halt(Halt.STOP)
                    return
                if self._flags.pending_action is Action.PAUSE and not self._recorder.paused():
                    self._control.go_on()
                    return
                self._take(min(left, 60.0))
        finally:
            self._holding = False

    def _drain(self) -> None:
        """Waits until nothing is in flight and records all of it. What was not sent stays in the pool."""
        self._stop_reading()
        while self._pool.flying:
            self._take(1.0)
            if self._control.halted is not Halt.LOST and self._recorder.due(None):
                self._recorder.record_rest()
        self._take(0)
        if self._control.halted is not Halt.LOST:
            self._recorder.record_rest()

    def _stop_reading(self) -> None:
        if self._delivery is not None:
            self._delivery.leave()
            self._next_block = self._delivery.next_block
            self._delivery = None

    def _leave(self) -> None:
        """Ends what runs here for the reason the job was halted for."""
        try:
            match self._control.halted:
                case Halt.CANCEL:
                    self._recorder.finish(Status.CANCELLED, "Cancelled")
                case Halt.STOP:
                    if self._flags.status is Status.RUNNING:
                        self._recorder.unsent(self._pool.returned)
                        self._recorder.record()
                    self._recorder.release("its server was stopping, or the pause lasted longer than a cursor is held")
                case Halt.FAIL:
                    self._fail(self._failure or RuntimeError("halted without an error"))
        except LeaseLost as exc:
            log.info("%s", exc)

    def _fail(self, exc: BaseException) -> None:
        try:
            self._control.halt(Halt.FAIL)
            self._drain()
            if isinstance(exc, BladeError):
                reason, message = exc.reason, exc.message
            else:
                incident = secrets.token_hex(4)
                log.error("incident %s: job %s met a bug", incident, self._claim.job_id, exc_info=exc)
                reason, message = Reason.INTERNAL, f"a bug in BLADE; the server's log tells more at incident {incident}"
            self._recorder.finish(Status.FAILED, "Failed", reason, message)
        except LeaseLost as lost:
            log.info("%s", lost)


def _flags_of(claim: Claim) -> Flags:
    """What callers wanted when the job was claimed: a pause or cancel may have been asked of the server that died."""
    job = claim.job
    return Flags(revision=job.revision, status=job.status, pending_action=job.pending_action, limits=job.spec.limits)
