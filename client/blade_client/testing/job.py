"""One job in memory: how it begins, takes its rows batch by batch, and ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.item_pb2 import Item
from blade.v1.job_pb2 import ErrorSummary, ItemError, Job, JobError, JobEvent
from blade_client.testing.items import Items, Row, json_of
from blade_client.watching import FINAL_STATUSES

_SAMPLES = 5
_LEAST_FOR_A_SHARE = 100
_DUPLICATE = ErrorReason.ERROR_REASON_DUPLICATE_ITEM_ID
_BEYOND_RETRY = (_DUPLICATE, ErrorReason.ERROR_REASON_MISSING_ITEM_ID)


class FakeJob:
    """Not thread-safe: whoever uses it holds the lock of all jobs.

    Args:
        shown: What callers see of it.
        rows: What it has to process.
        items: The catalog that it fills.
        changed: Called after each change.

    Attributes:
        errors: Of the rows that did not reach the catalog, in their order.
    """

    def __init__(self, shown: Job, rows: Sequence[Row], items: Items, changed: Callable[[], None]) -> None:
        self.shown = shown
        self.errors: list[ItemError] = []
        self._failed: list[Row] = []
        self._left = list(rows)
        self._seen: dict[str, Mapping[str, Any]] = {}
        self._items = items
        self._changed = changed

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.shown.status in FINAL_STATUSES

    @property
    def to_retry(self) -> list[Row]:
        """The failed rows that another job may bring through; none if there is no such row among them."""
        reasons = [error.reason for error in self.errors]
        if all(reason in _BEYOND_RETRY for reason in reasons):
            return []
        return [row for row, reason in zip(self._failed, reasons, strict=True) if reason != _DUPLICATE]

    @property
    def moves(self) -> bool:
        """Whether it goes on by itself."""
        return self.shown.status in (Job.PENDING, Job.RUNNING)

    def step(self) -> None:
        """It begins, or takes its next batch; harmless if it does not move."""
        if self.shown.status == Job.PENDING:
            self._begin()
        elif self.shown.status == Job.RUNNING:
            self.advance(self.shown.spec.batch_size)

    def advance(self, rows: int | None) -> None:
        """It takes so many rows, all by default. Raises ValueError if it does not move."""
        if not self.moves:
            raise ValueError(f"{self.shown.job_id} is {Job.Status.Name(self.shown.status)}, so it does not go on.")
        if self.shown.status == Job.PENDING:
            self._begin()
        wanted = len(self._left) if rows is None else rows
        while wanted > 0 and self._left and self.moves:
            batch = self._left[: min(wanted, self.shown.spec.batch_size)]
            del self._left[: len(batch)]
            self._process(batch)
            wanted -= len(batch)
        if not self._left and self.moves and rows != 0:
            self.end(Job.COMPLETED)

    def fail(self, reason: str, message: str) -> None:
        """It ends as FAILED."""
        self.shown.error.CopyFrom(JobError(reason=f"ERROR_REASON_{reason}", message=message))
        self.end(Job.FAILED, message)

    def end(self, status: Job.Status, detail: str = "") -> None:
        """It ends. Raises ValueError if it has ended."""
        job, name = self.shown, Job.Status.Name(status)
        if self.final:
            raise ValueError(f"{job.job_id} is {Job.Status.Name(job.status)} already.")
        job.end_time.GetCurrentTime()
        self._items.count(job.spec.source, job.success_count)
        job.completed_with_errors = status == Job.COMPLETED and job.error_count > 0
        self.become(status, JobEvent(kind=name, actor="fake", detail=detail), name.capitalize())

    def become(self, status: Job.Status, event: JobEvent, operation: str) -> None:
        """It takes on a status."""
        self.shown.status = status
        self.shown.current_operation = operation
        self.shown.wait_reason = Job.PAUSE_REQUESTED if status == Job.PAUSED else Job.WAIT_REASON_UNSPECIFIED
        self.note(event)

    def note(self, event: JobEvent | None = None) -> None:
        """It has changed; the event goes into its history."""
        self.shown.revision += 1
        self.shown.update_time.GetCurrentTime()
        if event is not None:
            event.time.CopyFrom(self.shown.update_time)
            self.shown.history.append(event)
        self._changed()

    def _begin(self) -> None:
        self.shown.start_time.GetCurrentTime()
        self.shown.total_items = len(self._left)
        self.shown.cost.statements = 1
        self.become(Job.RUNNING, JobEvent(kind="CLAIMED", actor="fake"), "Starting the query")

    def _process(self, batch: Sequence[Row]) -> None:
        job = self.shown
        job.cost.rows_read += len(batch)
        for row in batch:
            job.cost.bytes_read += len(json_of(row.columns))
            self._take(row)
        job.processed_items = job.success_count + job.error_count + job.skipped_count
        size = job.spec.batch_size
        job.current_operation = f"Processing batch {-(-job.processed_items // size)}/{-(-job.total_items // size)}"
        self.note()
        limits = job.spec.limits
        share = job.error_count / job.processed_items if job.processed_items >= _LEAST_FOR_A_SHARE else 0.0
        if (limits.HasField("max_errors") and job.error_count > limits.max_errors) or (
            limits.HasField("max_error_share") and share > limits.max_error_share
        ):
            self.fail("TOO_MANY_ERRORS", f"{job.error_count} of {job.processed_items} items failed")

    def _take(self, row: Row) -> None:
        job = self.shown
        catalog = self._items.catalog.setdefault(job.spec.data_type, {})
        if row.rejection is not None:
            wrong = row.rejection
            self._wrong(
                row, ItemError(stage="TRANSFORM", reason=wrong.reason, message=wrong.message, field=wrong.field)
            )
        elif row.item_id in self._seen:
            identical = self._seen[row.item_id] == row.columns
            what = "is equal to this one in every column" if identical else "holds other values"
            message = f"another row of this job has the item id {row.item_id!r} and {what}; the first one read stays"
            field = "item_id" if job.spec.item_id else "mapping.item_id"
            self._wrong(
                row, ItemError(stage="TRANSFORM", reason=_DUPLICATE, field=field, message=message, identical=identical)
            )
        elif job.spec.skip_existing and row.item_id in catalog:
            job.skipped_count += 1
        elif row.item_id in self._items.refused:
            reason, message = self._items.refused[row.item_id]
            self._wrong(row, ItemError(stage="UPLOAD", reason=f"ERROR_REASON_{reason}", message=message))
        else:
            self._seen[row.item_id] = row.columns
            item = catalog[row.item_id] = Item()
            item.CopyFrom(row.item)
            item.metadata.update({**job.spec.metadata, "job": job.job_id})
            item.classification = job.spec.classification or item.classification
            job.success_count += 1
            job.bytes_uploaded += item.ByteSize()

    def _wrong(self, row: Row, error: ItemError) -> None:
        error.item_id, error.row_json, error.attempts = row.item_id, json_of(row.columns), 1
        error.create_time.GetCurrentTime()
        self.errors.append(error)
        self._failed.append(row)
        self.shown.error_count += 1
        del self.shown.error_summaries[:]
        self.shown.error_summaries.extend(_summaries(self.errors))


def _summaries(found: Sequence[ItemError]) -> list[ErrorSummary]:
    by_reason: dict[ErrorReason, list[ItemError]] = {}
    for error in found:
        by_reason.setdefault(error.reason, []).append(error)
    ordered = sorted(by_reason.items(), key=lambda each: -len(each[1]))
    return [
        ErrorSummary(
            reason=reason,
            count=len(of),
            samples=of[:_SAMPLES],
            identical_count=sum(error.identical for error in of),
        )
        for reason, of in ordered
    ]
