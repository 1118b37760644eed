"""What a running job commits (outcomes, errors, counters, display: all in one go), and its patience with PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from blade_server.core.engine.batches import Batch, Report
from blade_server.core.engine.halt import Control, Halt
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.record.progress import Progress
from blade_server.errors import LeaseLost, Reason, StorageUnavailable
from blade_server.model import Block, Claim, Display, Flags, ItemError, Job, Plan, Record, Status, WaitReason
from blade_server.storage.engine.stores import Stores

T = TypeVar("T")

RECORD_EVERY_S = 0.2
"""Outcomes are committed in groups of so much time: five transactions, and five rings of the bell, a second."""
SHOW_EVERY_S = 1.0
STORAGE_PAUSE_S = 0.25
LAST_PATIENCE_S = 5.0


class Recorder:
    """Writes for one claim; belongs to the job's thread.

    Every method that writes insists while PostgreSQL is away (nothing is lost but time) and raises LeaseLost when the
    job is another's, or when it must be left and PostgreSQL does not come back.
    """

    def __init__(self, stores: Stores, claim: Claim, control: Control, progress: Progress) -> None:
        self._claims = stores.claims
        self._ledgers = stores.ledgers
        self._records = stores.records
        self._claim = claim
        self._control = control
        self._progress = progress
        self._number = claim.last_record
        self._shown = _as_claimed(claim.job)
        self._shown_at = 0.0
        self._forget()

    def _forget(self) -> None:
        self._counts = {Mark.SUCCESS: 0, Mark.ERROR: 0, Mark.SKIPPED: 0}
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
        report.batch.record(report.places, report.mark)
        self._counts[report.mark] += len(report.places)

    def skip(self, rows: int) -> None:
        """Counts rows that the source no longer has."""
        self._counts[Mark.SKIPPED] += rows

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
        rows = sum(self._counts.values())
        display = self._progress.display(reason, detail, adding=rows)
        self._shown_at = time.monotonic()
        if not rows and not self._touched and display == self._shown:
            return None
        record = Record(
            number=self._number + 1,
            success=self._counts[Mark.SUCCESS],
            error=self._counts[Mark.ERROR],
            skipped=self._counts[Mark.SKIPPED],
            bytes_uploaded=self._bytes_uploaded,
            blocks=[Block(number=b.number, keys=b"", outcomes=bytes(b.recorded)) for b in self._touched.values()],
            errors=self._errors,
            display=display,
        )
        self._forget()
        flags = self.insist(lambda: self._records.record(self._claim, record))
        self._number = record.number  # not before: a number that is left out looks like one that is gone
        self._progress.committed(record.success, record.error, record.skipped)
        self._shown = display
        return flags

    def record_rest(self) -> Flags | None:
        """As `record`, if there are outcomes that are not yet committed."""
        return self.record() if self._touched else None

    # ------------------------------------------------------------------------------------------------- states

    def plan(self, plan: Plan, total: int | None) -> None:
        """Keeps what to run, and how many rows there are to process."""
        self.insist(lambda: self._claims.set_plan(self._claim, plan, total))

    def intend(self, batches: Sequence[Batch]) -> None:
        """Writes down what is about to be sent."""
        blocks = [Block(number=b.number, keys=b"".join(b.keys), outcomes=bytes(b.recorded)) for b in batches]
        self.insist(lambda: self._ledgers.intend(self._claim, blocks))

    def paused(self) -> Flags | None:
        """Writes PAUSED. None if the pause was taken back."""
        return self.insist(lambda: self._claims.pause(self._claim))

    def release(self, detail: str) -> None:
        """Hands the job back."""
        self.insist(lambda: self._claims.release(self._claim, detail))

    def finish(self, status: Status, operation: str, error: Reason | None = None, message: str = "") -> None:
        """Writes the final status."""
        self.insist(lambda: self._claims.finish(self._claim, status, operation=operation, error=error, message=message))

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


def _as_claimed(job: Job) -> Display:
    return Display(
        current_operation=job.current_operation,
        items_per_second=job.items_per_second,
        wait_reason=job.wait_reason,
        wait_detail=job.wait_detail,
    )
