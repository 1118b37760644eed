"""One job from its first batch to its last: read, transform, upload, record.

    reader thread --chunks--> this thread --batches--> upload workers
                                  ^  |                      |
                                  |  +-- ledger: intend     |
                                  +------- reports ---------+
                                     ledger: record (every 0.2 s, one transaction)

The order that makes it safe: a batch's keys are in the ledger before it is sent (intend); what became of it is committed after
(record), together with errors and counters. What was intended and not recorded when a server dies is looked up in the
catalog by its successor.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty, Queue
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.catalog.http import Catalog
from blade_server.core import retry, sql
from blade_server.core.batches import Batch, Supply
from blade_server.core.credentials import target
from blade_server.core.control import Control, Halt, HaltedError
from blade_server.core.ledger import Ledger, Mark, Past, heads
from blade_server.core.pacing import Limiter, Pace, Throttle
from blade_server.core.progress import Progress
from blade_server.core.provenance import item_metadata
from blade_server.core.reader import Chunk, End, Reader
from blade_server.core.transform import Transform
from blade_server.core.uploads import Report, Uploader, UploadPolicy
from blade_server.errors import (
    BladeError,
    LeaseLost,
    Reason,
    ResultTruncated,
    StorageUnavailable,
    WarehouseRefused,
)
from blade_server.model import MAX_ITEMS, Action, ItemError, Status, WaitReason
from blade_server.settings import Settings
from blade_server.storage.claims import Block, Claim, ClaimStore, Display, Flags, Plan, Record
from blade_server.storage.paces import PaceStore
from blade_server.warehouse.databricks import Warehouse

log = logging.getLogger(__name__)

T = TypeVar("T")

RECORD_EVERY_S = 0.2
SHOW_EVERY_S = 1.0
WINDOW = 4
"""Batches on the way to the catalog for each worker."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a pipeline works with; the same for all jobs of a server."""

    settings: Settings
    claims: ClaimStore
    paces: PaceStore
    catalog: Catalog
    throttle: Throttle


class _Unrecorded:
    """What happened since the last commit."""

    def __init__(self) -> None:
        self.counts = {Mark.SUCCESS: 0, Mark.ERROR: 0, Mark.SKIPPED: 0}
        self.bytes_uploaded = 0
        self.errors: list[tuple[bytes, ItemError]] = []
        self.touched: dict[int, Batch] = {}
        self.since = 0.0

    def add(self, report: Report) -> None:
        if not report.done:
            return
        self.since = self.since or time.monotonic()
        self.bytes_uploaded += report.bytes_uploaded
        self.errors.extend(report.errors)
        self.touched[report.batch.number] = report.batch
        for at, mark in report.done:
            report.batch.recorded[at] = mark
            self.counts[mark] += 1

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


class Pipeline:
    """Runs one claim. `run` is the life of its thread; the other methods may be called from any thread."""

    def __init__(self, parts: Parts, claim: Claim, lease_until: float) -> None:
        self._parts = parts
        self._claim = claim
        self._spec = claim.job.spec
        self._limits = claim.job.spec.limits
        self._control = Control(lease_until)
        self._inbox: Queue[Chunk | End | Report | BaseException | None] = Queue()
        self._flags_lock = threading.Lock()
        self._seen_revision = 0
        self._seen_status = Status.RUNNING
        self._progress = Progress(claim.job, self._spec.batch_size)
        self._limiter = Limiter(self._limits.items_per_second)
        self._uploader = self._make_uploader()
        self._workers: list[threading.Thread] = []
        self._target = target(parts.settings, claim.job.source.config)
        self._warehouse = Warehouse(self._target)
        self._reader: Reader | None = None
        self._reader_thread: threading.Thread | None = None
        self._only: NDArray[np.uint64] | None = None
        self._record_number = 0
        self._next_block = claim.epoch << 32
        self._supply = Supply(self._spec.batch_size)
        self._returned: deque[Batch] = deque()
        self._flying = 0
        self._unrecorded = _Unrecorded()
        self._shown: Display | None = None
        self._shown_at = 0.0
        self._end: End | None = None
        self._failure: BaseException | None = None

    def _make_uploader(self) -> Uploader:
        settings, source = self._parts.settings, self._claim.job.source
        policy = UploadPolicy(
            retry_attempts=settings.retry_attempts,
            retry_base_s=settings.retry_base_s,
            patience_s=settings.catalog_patience_s,
            skip_existing=self._spec.skip_existing,
        )
        pace = Pace(
            self._limiter, self._parts.throttle, self._parts.paces, source.name, source.config.items_per_second
        )
        return Uploader(
            self._parts.catalog,
            source.data_source,
            self._claim.job_id,
            policy,
            pace,
            self._parts.throttle,
            self._control,
            self._inbox.put,
        )

    # ------------------------------------------------------------------------------- from the runner's threads

    def renew(self, lease_until: float, flags: Flags) -> None:
        """The lease was renewed; this is what callers want."""
        self._control.renew(lease_until)
        self._obey(flags)

    def lose(self) -> None:
        """Another server has the job, or a caller ended it."""
        self._halt(Halt.LOST)

    def stop(self) -> None:
        """This server is stopping: hand the job back."""
        self._halt(Halt.STOP)

    def _obey(self, flags: Flags) -> None:
        with self._flags_lock:  # a beat and a record may come back in the other order
            if flags.revision < self._seen_revision:
                return
            self._seen_revision, self._seen_status = flags.revision, flags.status
        if flags.limits != self._limits:
            self._limits = flags.limits
            self._limiter.set_rate(flags.limits.items_per_second)
        if flags.pending_action is Action.CANCEL:
            self._halt(Halt.CANCEL)
        elif flags.pending_action is Action.PAUSE or flags.status is Status.PAUSED:
            self._halt(Halt.PAUSE)
        elif flags.status is Status.RUNNING and self._control.halted is Halt.PAUSE:
            self._control.go_on()
            self._inbox.put(None)

    def _halt(self, why: Halt) -> None:
        if self._control.halted is why:
            return
        self._control.halt(why)
        if why is not Halt.PAUSE:
            self._warehouse.cancel()
        self._inbox.put(None)

    # ---------------------------------------------------------------------------------------- the job's thread

    def run(self) -> None:
        """Runs the job until it is final, handed back or lost. Never raises."""
        try:
            self._start_workers()
            self._work()
        except HaltedError:
            self._leave()
        except LeaseLost:
            log.info("job %s: lost to another server or ended by a caller", self._claim.job_id)
        except BladeError as exc:
            self._fail(exc)
        except BaseException as exc:
            log.exception("job %s: bug", self._claim.job_id)
            self._fail(exc)
        finally:
            self._close()

    def _work(self) -> None:
        """Passes over the result, again after a transient failure, until one gets to its end."""
        self._record_number = self._storage(lambda: self._parts.claims.last_record(self._claim))
        attempt = 0
        while True:
            before = self._progress.processed
            try:
                self._connect()
                plan = self._plan()
                self._pass(plan)
                self._check_complete(plan)
            except BladeError as exc:
                self._drain()
                self._control.check()
                attempt = 1 if self._progress.processed > before else attempt + 1
                if not exc.transient or isinstance(exc, StorageUnavailable) or attempt > self._retries:
                    raise
                seconds = retry.delay_s(attempt, self._parts.settings.retry_base_s, exc)
                self._wait_before_retry(seconds, f"attempt {attempt + 1} of {self._retries + 1}: {exc.message}")
            else:
                self._complete()
                return

    def _connect(self) -> None:
        """A new session for each attempt: what the last one left behind does not matter."""
        self._warehouse.close()
        self._warehouse = Warehouse(self._target)
        self._control.check()

    @property
    def _retries(self) -> int:
        return self._parts.settings.retry_attempts

    def _wait_before_retry(self, seconds: float, detail: str) -> None:
        self._show(WaitReason.RETRY_BACKOFF, f"in {seconds:.1f} s {detail}")
        self._control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)

    def _plan(self) -> Plan:
        """Pins the tables to their versions of now and counts the rows, once for the whole job."""
        if self._claim.plan.announced is not None:
            return self._claim.plan
        self._show(WaitReason.WAREHOUSE_STARTING, "counting the rows")
        statement = self._pinned(self._claim.plan.statement)
        announced = int(self._scalar(sql.count(statement)) or 0)
        if announced > MAX_ITEMS:
            raise Fatal(f"the query has {announced} rows; a job takes at most {MAX_ITEMS}, split it with a WHERE")
        plan = Plan(statement=statement, announced=announced)
        self._storage(lambda: self._parts.claims.set_plan(self._claim, plan))
        self._claim = replace(self._claim, plan=plan)
        self._progress.total = announced
        return plan

    def _pinned(self, statement: str) -> str:
        """The statement over the versions its tables have now; what has no versions (views, other formats) stays."""
        versions = {}
        for table in sql.tables(statement):
            try:
                versions[table] = int(self._scalar(sql.history(table)))
            except WarehouseRefused:
                log.info("job %s: %s has no versions; a re-run sees it as it is then", self._claim.job_id, table)
        return sql.pin(statement, versions)

    def _scalar(self, statement: str) -> Any:
        result = self._warehouse.execute(statement)
        try:
            for batch in result:
                if batch.num_rows:
                    return batch.column(0)[0].as_py()
            raise WarehouseRefused(f"no answer to {statement!r}")
        finally:
            result.close()

    def _pass(self, plan: Plan) -> None:
        """Reads the result once and gets every new row of it recorded. Raises what ended it early."""
        since_block = self._next_block
        ledger = Ledger(
            self._load_past(), lambda keys: self._parts.claims.known_keys(self._claim.job_id, since_block, keys)
        )
        self._end = self._failure = None
        self._returned.clear()  # read again and looked up, like everything intended and not recorded
        self._supply = Supply(self._spec.batch_size)
        reader = Reader(
            self._warehouse, plan.statement, self._transform, ledger, self._control, self._inbox.put, self._only
        )
        self._reader = reader
        self._reader_thread = threading.Thread(target=reader.run, name=f"read {self._claim.job_id}", daemon=True)
        self._reader_thread.start()
        self._progress.went_on()
        while True:
            if self._control.halted is Halt.PAUSE:
                self._pause()
            self._raise_if_over()
            self._dispatch(reader, ledger)
            self._commit_if_due(reader)
            if self._end is not None and self._idle:
                self._commit()
                return
            self._take(0.1)

    @property
    def _idle(self) -> bool:
        return not (self._flying or self._returned or self._supply)

    def _raise_if_over(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._control.halted not in (None, Halt.PAUSE):
            raise HaltedError(self._control.halted)

    def _load_past(self) -> Past:
        claims, job_id = self._parts.claims, self._claim.job_id
        if self._claim.job.parent_job_id and self._only is None:
            parent = self._claim.job.parent_job_id
            chunks = [heads(keys) for keys in claims.failed_keys(parent)]
            self._only = np.unique(np.concatenate(chunks)) if chunks else np.empty(0, dtype=np.uint64)
            self._progress.total = len(self._only)
        size = claims.ledger_size(job_id)
        return Past.load(size, ((block.keys, block.outcomes) for some in claims.blocks(job_id) for block in some))

    def _transform(self, schema: pa.Schema) -> Transform:
        job = self._claim.job
        metadata = item_metadata(
            job.source, self._target.warehouse_id, {**self._spec.metadata, "job": job.job_id}
        )
        return Transform(
            job.source,
            schema,
            known_classifications=self._parts.settings.known_classifications,
            metadata=metadata,
            classification=self._spec.classification,
        )

    # ------------------------------------------------------------------------------------- batches out, reports in

    def _start_workers(self) -> None:
        for number in range(self._spec.workers):
            thread = threading.Thread(
                target=self._uploader.run, name=f"upload {self._claim.job_id} {number}", daemon=True
            )
            thread.start()
            self._workers.append(thread)

    def _dispatch(self, reader: Reader, ledger: Ledger) -> None:
        """Gives the workers what they have room for, after it is written down."""
        room = self._spec.workers * WINDOW - self._flying
        while self._returned and room > 0:
            self._fly(self._returned.popleft())
            room -= 1
        batches: list[Batch] = []
        while room > len(batches) and (batch := self._supply.next(self._next_block, self._end is not None)):
            self._next_block += 1
            batches.append(batch)
        for _ in range(self._supply.used_up()):
            reader.consumed()
        if not batches:
            return
        blocks = [Block(number=b.number, keys=b"".join(b.keys), outcomes=bytes(b.recorded)) for b in batches]
        self._storage(lambda: self._parts.claims.intend(self._claim, blocks))
        for batch in batches:
            ledger.written(batch.keys)
            if batch.items:
                self._fly(batch)
            else:
                errors = self._supply.errors.pop(batch.number)
                done = [(at, Mark.ERROR) for at in range(len(batch.keys))]
                self._unrecorded.add(Report(batch=batch, done=done, errors=errors))

    def _fly(self, batch: Batch) -> None:
        self._flying += 1
        self._uploader.work.put(batch)

    def _take(self, timeout_s: float) -> None:
        """Takes in what threads have to tell, waiting at most so long for the first word."""
        try:
            message = self._inbox.get(timeout=timeout_s)
            while True:
                self._take_in(message)
                message = self._inbox.get_nowait()
        except Empty:
            return

    def _take_in(self, message: Chunk | End | Report | BaseException | None) -> None:
        match message:
            case Report():
                self._unrecorded.add(message)
                if message.left:
                    self._flying -= 1
                    if message.batch.open:
                        self._returned.append(message.batch)
            case Chunk():
                self._supply.add(message)
            case End():
                self._end = message
            case BaseException():
                self._failure = self._failure or message

    # -------------------------------------------------------------------------------------------------- commits

    def _commit_if_due(self, reader: Reader) -> None:
        now = time.monotonic()
        since = self._unrecorded.since
        if (since and now - since >= RECORD_EVERY_S) or now - self._shown_at >= SHOW_EVERY_S:
            self._commit(reader)

    def _commit(self, reader: Reader | None = None) -> None:
        """One transaction: outcomes, errors, counters, display. Raises if a limit of errors is passed."""
        unrecorded, self._unrecorded = self._unrecorded, _Unrecorded()
        reason, detail = self._waiting_for(reader)
        display = self._progress.display(reason, detail, adding=unrecorded.rows)
        if unrecorded.rows or display != self._shown:
            self._write(unrecorded, display)
        limit = self._progress.too_many_errors(self._limits)
        if limit is not None and self._control.halted is None:
            self._control.halt(Halt.FAIL)
            self._failure = Fatal(limit, reason=Reason.TOO_MANY_ERRORS)
            raise self._failure

    def _write(self, unrecorded: _Unrecorded, display: Display) -> None:
        self._record_number += 1
        counts = unrecorded.counts
        record = Record(
            number=self._record_number,
            success=counts[Mark.SUCCESS],
            error=counts[Mark.ERROR],
            skipped=counts[Mark.SKIPPED],
            bytes_uploaded=unrecorded.bytes_uploaded,
            blocks=[Block(number=b.number, keys=b"", outcomes=bytes(b.recorded)) for b in unrecorded.touched.values()],
            errors=unrecorded.errors,
            display=display,
        )
        flags = self._storage(lambda: self._parts.claims.record(self._claim, record))
        self._progress.committed(record.success, record.error, record.skipped)
        self._shown, self._shown_at = display, time.monotonic()
        self._obey(flags)

    def _waiting_for(self, reader: Reader | None) -> tuple[WaitReason | None, str]:
        if reader is None:
            return None, ""
        if not reader.began.is_set():
            return WaitReason.WAREHOUSE_STARTING, "the warehouse has not answered the query yet"
        if self._end is None and self._idle:
            return WaitReason.WAREHOUSE_STARTING, "waiting for rows from the warehouse"
        return self._control.why_waiting()

    def _show(self, reason: WaitReason | None, detail: str) -> None:
        self._write(_Unrecorded(), self._progress.display(reason, detail))

    def _storage(self, call: Callable[[], T]) -> T:
        """Insists while PostgreSQL is away: nothing is lost but time. Gives up only when the job must be left."""
        gives_up = 0.0
        while True:
            try:
                return call()
            except StorageUnavailable:
                halted = self._control.halted
                if halted is Halt.LOST:
                    raise LeaseLost(f"job {self._claim.job_id} was lost while PostgreSQL was away") from None
                if halted is Halt.STOP:
                    gives_up = gives_up or time.monotonic() + 5.0
                    if time.monotonic() > gives_up:
                        raise LeaseLost(f"job {self._claim.job_id} is left: PostgreSQL is away") from None
                time.sleep(0.25)

    # --------------------------------------------------------------------------------------------------- endings

    def _drain(self) -> None:
        """Waits until nothing is in flight and records all of it. What was not sent stays in `_returned`."""
        self._stop_reading()
        while self._flying:
            self._take(1.0)
            if self._unrecorded.since and time.monotonic() - self._unrecorded.since >= RECORD_EVERY_S:
                self._write_rest()
        self._take(0.0)
        self._write_rest()

    def _write_rest(self) -> None:
        unrecorded, self._unrecorded = self._unrecorded, _Unrecorded()
        if unrecorded.rows and self._control.halted is not Halt.LOST:
            self._write(unrecorded, self._progress.display(None, "", adding=unrecorded.rows))

    def _pause(self) -> None:
        """From the request to the end of the pause. Raises HaltedError if the job is not to go on here."""
        while self._flying and self._control.halted is Halt.PAUSE:
            self._take(1.0)
        self._write_rest()
        if self._control.halted is not Halt.PAUSE:
            return
        if not self._storage(lambda: self._parts.claims.pause(self._claim)):
            self._show(None, "")  # taken back: the answer's flags let it go on
            return
        hold_until = time.monotonic() + self._parts.settings.pause_hold_s
        while self._control.halted is Halt.PAUSE:
            left = hold_until - time.monotonic()
            if left <= 0:
                self._control.halt(Halt.STOP)
                break
            self._take(min(left, 60.0))
        self._progress.went_on()

    def _leave(self) -> None:
        """Ends what runs here for the reason the job was halted for."""
        try:
            self._drain()
            match self._control.halted:
                case Halt.CANCEL:
                    self._finish(Status.CANCELLED, "Cancelled")
                case Halt.FAIL:
                    self._fail(self._failure or RuntimeError("halted without an error"))
                case Halt.STOP:
                    self._hand_back()
        except LeaseLost:
            log.info("job %s: lost while it was being left", self._claim.job_id)

    def _hand_back(self) -> None:
        unsent = _Unrecorded()
        for batch in self._returned:
            marks = bytes(mark if mark != Mark.INTENDED else Mark.UNSENT for mark in batch.recorded)
            batch.recorded[:] = marks
            unsent.touched[batch.number] = batch
        if unsent.touched and self._seen_status is Status.RUNNING:
            self._write(unsent, self._progress.display(None, ""))
        self._storage(lambda: self._parts.claims.release(self._claim, "its server was stopping or the pause was long"))

    def _fail(self, exc: BaseException) -> None:
        try:
            self._control.halt(Halt.FAIL)
            self._drain()
            if isinstance(exc, BladeError):
                reason, message = exc.reason, exc.message
            else:
                incident = secrets.token_hex(4)
                log.error("incident %s: job %s failed", incident, self._claim.job_id, exc_info=exc)
                reason, message = Reason.INTERNAL, f"a bug in BLADE; incident {incident} in the server's log tells more"
            self._finish(Status.FAILED, "Failed", reason, message)
        except LeaseLost:
            log.info("job %s: lost while it failed", self._claim.job_id)

    def _finish(self, status: Status, operation: str, error: Reason | None = None, message: str = "") -> None:
        self._storage(
            lambda: self._parts.claims.finish(self._claim, status, operation=operation, error=error, message=message)
        )

    def _check_complete(self, plan: Plan) -> None:
        """Raises ResultTruncated unless every row that the warehouse announced was read and accounted for."""
        read = self._end.rows_read if self._end else 0
        if plan.announced is not None and read < plan.announced:
            now = int(self._scalar(sql.count(plan.statement)) or 0)
            if read < now:
                raise ResultTruncated(
                    f"the warehouse announced {now} rows and sent {read}; what was sent is in the catalog, "
                    "start the job again for the rest"
                )
        if self._only is not None:
            self._account_for_gone_rows()
        elif self._progress.processed < read:
            raise ResultTruncated(f"{read} rows were read but only {self._progress.processed} are accounted for")

    def _account_for_gone_rows(self) -> None:
        gone = (self._progress.total or 0) - self._progress.processed
        if gone > 0:  # the source no longer has these rows
            unrecorded = _Unrecorded()
            unrecorded.counts[Mark.SKIPPED] = gone
            self._write(unrecorded, self._progress.display(None, "", adding=gone))

    def _complete(self) -> None:
        done = self._progress
        words = f"Completed: {done.success} uploaded, {done.error} failed, {done.skipped} skipped"
        self._finish(Status.COMPLETED, words)

    def _stop_reading(self) -> None:
        if self._reader is not None and self._end is None:
            self._reader.leave()
        if self._reader_thread is not None:
            self._reader_thread.join(10.0)
            self._reader_thread = None
        self._supply = Supply(self._spec.batch_size)

    def _close(self) -> None:
        self._stop_reading()
        self._control.halt(Halt.LOST)
        for _ in self._workers:
            self._uploader.work.put(None)
        self._warehouse.close()


class Fatal(BladeError):
    """Stops the job."""
