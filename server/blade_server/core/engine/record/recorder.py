"""What a running job commits (outcomes, errors, counters, display: all in one go), and its patience with PostgreSQL."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from blade_server import tracing
from blade_server.arrow.packed_ids import packed
from blade_server.core.engine.batches import Batch, Equal, Report
from blade_server.core.engine.halt import Control, Halt
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.record.progress import Progress
from blade_server.core.engine.sync.findings import Findings
from blade_server.errors import LeaseLost, Reason, StorageUnavailable
from blade_server.metrics.families import JOB_ITEMS, JOB_WAITS, JOBS_ENDED, LEDGER_WRITES, UPLOADED_BYTES
from blade_server.model import Block, Claim, Display, Flags, ItemError, Job, Plan, Record, Status, WaitReason
from blade_server.model.cost import NO_COST, Cost
from blade_server.model.sync_end import SyncEnd
from blade_server.storage.engine.stores import Stores
from blade_server.warehouse import Tally

T = TypeVar("T")

RECORD_EVERY_S = 0.2
"""Outcomes are committed in groups of so much time: five transactions, and five rings of the bell, a second."""
SHOW_EVERY_S = 1.0
COST_EVERY_MS = 10_000
"""What the warehouse took is committed with all else; alone, while a statement runs and nothing moves, so often."""
STORAGE_PAUSE_S = 0.25
LAST_PATIENCE_S = 5.0


class Recorder:
    """Writes for one claim; belongs to the job's thread.

    Every method that writes insists while PostgreSQL is away (nothing is lost but time) and raises LeaseLost when the
    job is another's, or when it must be left and PostgreSQL does not come back.
    """

    def __init__(
        self,
        stores: Stores,
        claim: Claim,
        control: Control,
        progress: Progress,
        findings: Findings | None = None,
        *,
        tally: Tally,
    ) -> None:
        """`findings`: of a sync's run. `tally`: of all sessions of this claim."""
        self._tally = tally
        self._counted = NO_COST
        self._findings = findings
        self._claims = stores.claims
        self._ledgers = stores.ledgers
        self._records = stores.records
        self._claim = claim
        self._control = control
        self._progress = progress
        self._number = claim.last_record
        self._shown = _as_claimed(claim.job)
        self._shown_at = 0.0
        self._waits_for: WaitReason | None = None
        self._waits_since = time.monotonic()
        self._spans = tracing.Often("record")
        self._forget()

    def _forget(self) -> None:
        self._success = self._error = self._skipped = 0
        self._outcomes: Counter[str] = Counter()
        """What became of items, for the metrics."""
        self._new_blocks: list[Block] = []
        self._unwritten: list[tuple[Sequence[bytes], Callable[[Iterable[bytes]], None]]] = []
        self._bytes_uploaded = 0
        self._errors: list[tuple[bytes, ItemError]] = []
        self._touched: dict[int, Batch] = {}
        self._since = 0.0

    # ----------------------------------------------------------------------------------------------- progress

    def add(self, report: Report) -> None:
        """Takes in what became of some items; it is committed with the next record."""
        if not report.places:
            return
        self._since = self._since or time.monotonic()
        self._bytes_uploaded += report.bytes_uploaded
        self._errors.extend(report.errors)
        self._touched[report.batch.number] = report.batch
        if report.batch.deletes:
            report.batch.record(report.places, report.mark)
            self._find(report.mark, len(report.places), deletes=True)
            return
        if report.mark is Mark.SUCCESS:
            created = report.batch.record_sent(report.places)
            self._find(Mark.CREATED, created)
            self._find(Mark.SUCCESS, len(report.places) - created)
        else:
            report.batch.record(report.places, self._known_mark(report.mark))
            self._find(report.mark, len(report.places))
        self._count(report.mark, len(report.places))

    def _known_mark(self, mark: Mark) -> Mark:
        """What may be stored all the same matters to syncs alone; servers of 0.2, which run other jobs, do not know it
        and would send the item again.
        """
        return Mark.ERROR if mark is Mark.DOUBTED and self._findings is None else mark

    def add_equal(self, number: int, equal: Equal, written: Callable[[Iterable[bytes]], None]) -> int:
        """Takes in rows that nothing was intended for: they go into the ledger, as blocks from this number on, with the
        next record, and `written` is told. Returns how many blocks they take.
        """
        self._since = self._since or time.monotonic()
        blocks = _blocks_of_equal(number, equal)
        self._new_blocks += blocks
        self._unwritten.append((equal.keys, written))
        self._find(equal.mark, len(equal.keys))
        self._count(equal.mark, len(equal.keys))
        return len(blocks)

    def forget(self, number: int, keys: Sequence[bytes]) -> None:
        """Items that are nowhere need no delete: the sync forgets them. As a block of this number."""
        outcomes = bytes([Mark.DELETED]) * len(keys)
        self._new_blocks.append(Block(number=number, keys=b"".join(keys), outcomes=outcomes, deletes=True))

    def _find(self, mark: Mark, items: int, *, deletes: bool = False) -> None:
        self._outcomes["success" if mark is Mark.CREATED else mark.name.lower()] += items
        if self._findings is not None and items:
            self._findings.add(mark, items, deletes=deletes)

    def _count(self, mark: Mark, rows: int) -> None:
        if mark.failed:
            self._error += rows
        elif mark in {Mark.SKIPPED, Mark.UNCHANGED}:
            self._skipped += rows
        else:
            self._success += rows

    def skip(self, rows: int) -> None:
        """Counts rows that the source no longer has."""
        self._skipped += rows
        self._outcomes["skipped"] += rows

    def unsent(self, batches: Sequence[Batch]) -> None:
        """Marks what was intended and certainly not sent, so that nobody has to look it up."""
        for batch in batches:
            for at in set(batch.open) - batch.doubts.keys():
                batch.recorded[at] = Mark.UNSENT
            self._touched[batch.number] = batch

    def shows(self, reason: WaitReason) -> bool:
        """Whether this is the reason to wait that is shown."""
        return self._shown.wait_reason is reason

    def due(self, why: Callable[[], tuple[WaitReason | None, str]]) -> bool:
        """Whether it is time for a record: of outcomes, of another reason to wait than shown, or of what else is shown.

        `why` tells the reason; it takes a lock that the upload threads want, so it is not asked each time.
        """
        now = time.monotonic()
        if (self._since and now - self._since >= RECORD_EVERY_S) or now - self._shown_at >= SHOW_EVERY_S:
            return True
        if now - self._shown_at < RECORD_EVERY_S:
            return False
        return why()[0] is not self._shown.wait_reason

    def record(self, reason: WaitReason | None = None, detail: str = "") -> Flags | None:
        """Commits what there is to commit, in one transaction; returns what callers want of the job now.

        None, and nothing is written, if nothing has changed.
        """
        self._count_wait(reason)
        rows = self._success + self._error + self._skipped
        display = self._progress.display(reason, detail, adding=rows)
        self._shown_at = time.monotonic()
        cost, more = self._cost()
        moved = rows or self._touched or self._new_blocks or more.warehouse_ms >= COST_EVERY_MS
        if not moved and display == self._shown:
            return None
        record = Record(
            number=self._number + 1,
            success=self._success,
            error=self._error,
            skipped=self._skipped,
            bytes_uploaded=self._bytes_uploaded,
            blocks=[Block(number=b.number, keys=b"", outcomes=bytes(b.recorded)) for b in self._touched.values()],
            new_blocks=self._new_blocks,
            errors=self._errors,
            display=display,
            report=None if self._findings is None else self._findings.report(),
            cost=more,
        )
        unwritten, outcomes = self._unwritten, self._outcomes
        self._forget()
        with self._spans({"blade.record.number": record.number, "blade.rows": rows}), LEDGER_WRITES.time():
            flags = self.insist(lambda: self._records.record(self._claim, record))
        self._counted = cost
        self._number = record.number  # not before: a number that is left out looks like one that is gone
        self._count_items(record, outcomes)
        self._progress.committed(record.success, record.error, record.skipped)
        for keys, written in unwritten:
            written(keys)
        self._shown = display
        return flags

    def _count_items(self, record: Record, outcomes: Counter[str]) -> None:
        """For the metrics; a second row of an id is apart from other errors."""
        source = self._claim.job.source.name
        duplicates = sum(error.reason is Reason.DUPLICATE_ITEM_ID for _, error in record.errors)
        for outcome, items in {**outcomes, "error": outcomes["error"] - duplicates, "duplicate": duplicates}.items():
            if items:
                JOB_ITEMS.labels(source, outcome).inc(items)
        if record.bytes_uploaded:
            UPLOADED_BYTES.labels(self._claim.job.spec.destination).inc(record.bytes_uploaded)

    def _count_wait(self, reason: WaitReason | None) -> None:
        """The time since it was told last goes to the reason that was told then, for the metrics."""
        now = time.monotonic()
        if self._waits_for is not None:
            JOB_WAITS.labels(self._waits_for).inc(now - self._waits_since)
        self._waits_for, self._waits_since = reason, now

    def record_rest(self) -> Flags | None:
        """As `record`, if there are outcomes that are not yet committed."""
        return self.record() if self._touched or self._new_blocks else None

    # ------------------------------------------------------------------------------------------------- states

    def plan(self, plan: Plan, total: int | None) -> None:
        """Keeps what to run, and how many rows there are to process."""
        self.insist(lambda: self._claims.set_plan(self._claim, plan, total))

    def intend(self, batches: Sequence[Batch]) -> None:
        """Writes down what is about to be sent."""
        block = _plain_block if self._findings is None else _sync_block
        blocks = [block(batch) for batch in batches]
        with LEDGER_WRITES.time():
            self.insist(lambda: self._ledgers.intend(self._claim, blocks))

    def paused(self) -> Flags | None:
        """Writes PAUSED. None if the pause was taken back."""
        self._count_wait(None)
        cost, more = self._cost()
        flags = self.insist(lambda: self._claims.pause(self._claim, more))
        if flags is not None:
            self._counted = cost
        return flags

    def release(self, detail: str) -> None:
        """Hands the job back."""
        self._count_wait(None)
        _, more = self._cost()
        self.insist(lambda: self._claims.release(self._claim, detail, more))

    def finish(
        self,
        status: Status,
        operation: str,
        error: Reason | None = None,
        message: str = "",
        sync_end: SyncEnd | None = None,
    ) -> None:
        """Writes the final status."""
        self._count_wait(None)
        _, more = self._cost()
        self.insist(
            lambda: self._claims.finish(
                self._claim, status, operation=operation, error=error, message=message, sync_end=sync_end, cost=more
            )
        )
        JOBS_ENDED.labels(self._claim.job.source.name, status).inc()

    def _cost(self) -> tuple[Cost, Cost]:
        """What this claim took so far, and what of that is not committed."""
        cost = self._tally.cost
        return cost, cost - self._counted

    def insist(self, call: Callable[[], T]) -> T:
        """Calls again and again while PostgreSQL is away."""
        gives_up = 0.0
        while True:
            try:
                return call()
            except StorageUnavailable:
                halted = self._control.halted
                gives_up = gives_up or time.monotonic() + LAST_PATIENCE_S
                if halted is Halt.LOST or (halted is Halt.STOP and time.monotonic() > gives_up):
                    raise LeaseLost(f"job {self._claim.job_id} is left while PostgreSQL is away") from None
                time.sleep(STORAGE_PAUSE_S)


def _plain_block(batch: Batch) -> Block:
    return Block(number=batch.number, keys=b"".join(batch.keys), outcomes=bytes(batch.recorded))


def _sync_block(batch: Batch) -> Block:
    """With what the sync will know of the items; of rows that were rejected, their ids."""
    item_ids = contents = None
    if batch.facts is not None and batch.encoded is not None:
        contents = batch.facts["content"].tobytes()
        item_ids = packed(batch.items.ids)
    elif not batch.deletes:
        item_ids = packed([error.item_id if _may_be_mended(error) else "" for _, error in batch.errors])
    return replace(_plain_block(batch), contents=contents, item_ids=item_ids, deletes=batch.deletes)


def _may_be_mended(error: ItemError) -> bool:
    """Whether the row is to be read again by its id: not a second row of an id, nor one that every run reads."""
    return error.reason not in {Reason.DUPLICATE_ITEM_ID, Reason.CURSOR_UNUSABLE}


def _blocks_of_equal(number: int, equal: Equal) -> list[Block]:
    """Those that are as they were sent again, with their digests, apart from the others."""
    again, rest = set(equal.again), equal.keys
    blocks = []
    if again:
        keys = b"".join(equal.keys[at] for at in equal.again)
        outcomes = bytes([equal.mark]) * len(again)
        blocks.append(Block(number=number, keys=keys, outcomes=outcomes, contents=equal.contents))
        rest = [key for at, key in enumerate(equal.keys) if at not in again]
    if rest:
        outcomes = bytes([equal.mark]) * len(rest)
        blocks.append(Block(number=number + len(blocks), keys=b"".join(rest), outcomes=outcomes))
    return blocks


def _as_claimed(job: Job) -> Display:
    return Display(
        current_operation=job.current_operation,
        items_per_second=job.items_per_second,
        wait_reason=job.wait_reason,
        wait_detail=job.wait_detail,
    )
