"""What a running job shows: counters, rate, expected end, words."""

from __future__ import annotations

import threading
import time
from collections import deque

from blade_server.model import Display, Job, JobLimits, WaitReason

WINDOW_S = 10.0
LONGEST_ETA_S = 10 * 365 * 86400.0
"""An end further away than this is not expected: a job that sits out an outage has next to no rate."""


class Progress:
    """The counters of one job as committed so far by all claims, and the rate of this one. One thread only."""

    def __init__(self, job: Job, batch_size: int) -> None:
        self.success = job.success_count
        self.error = job.error_count
        self.skipped = job.skipped_count
        self.total = job.total_items
        self._batch_size = batch_size
        self._marks: deque[tuple[float, int]] = deque()
        self.went_on()

    @property
    def processed(self) -> int:
        """Rows that are done with."""
        return self.success + self.error + self.skipped

    def went_on(self) -> None:
        """The job runs from here: what was before says nothing about the rate."""
        self._marks.clear()
        self._marks.append((time.monotonic(), self.processed))

    def committed(self, success: int, error: int, skipped: int) -> None:
        """These were added in the database."""
        self.success += success
        self.error += error
        self.skipped += skipped
        now = time.monotonic()
        self._marks.append((now, self.processed))
        while len(self._marks) > 2 and self._marks[1][0] < now - WINDOW_S:
            self._marks.popleft()

    def too_many_errors(self, limits: JobLimits) -> str | None:
        """What limit is passed, in words."""
        return too_many_errors(limits, self.error, self.processed)

    def display(self, wait_reason: WaitReason | None, wait_detail: str, adding: int = 0) -> Display:
        """As it will be once `adding` more rows are committed."""
        rate = self._rate(adding)
        processed = self.processed + adding
        left = None if self.total is None else max(0, self.total - processed)
        return Display(
            current_operation=self._operation(processed),
            items_per_second=rate,
            seconds_left=_seconds_left(left, rate),
            wait_reason=wait_reason,
            wait_detail=wait_detail,
        )

    def _rate(self, adding: int) -> float:
        since, processed_then = self._marks[0]
        passed = time.monotonic() - since
        return (self.processed + adding - processed_then) / passed if passed > 0.05 else 0.0

    def _operation(self, processed: int) -> str:
        batch = processed // self._batch_size + 1
        if self.total is None:
            return f"Processing batch {batch}"
        batches = max(1, -(-self.total // self._batch_size))
        return f"Processing batch {min(batch, batches)}/{batches}"


class Reported:
    """The same counts as far as anything has become of rows, committed or not. Any thread.

    A share of errors is one of the rows that were begun: of those on their way it is not known yet, while rejected rows
    are known at once.
    """

    def __init__(self, job: Job) -> None:
        self._error = job.error_count
        self._processed = self._begun = job.success_count + job.error_count + job.skipped_count
        self._lock = threading.Lock()

    def anew(self) -> None:
        """Nothing is on its way."""
        with self._lock:
            self._begun = self._processed

    def begin(self, rows: int) -> None:
        """So many rows more are on their way."""
        with self._lock:
            self._begun += rows

    def add(self, rows: int, *, errors: bool, limits: JobLimits) -> str | None:
        """Something has become of so many rows more; what limit is passed by now, in words."""
        with self._lock:
            self._processed += rows
            self._error += rows if errors else 0
            return too_many_errors(limits, self._error, max(self._begun, self._processed))

    def too_many_errors(self, limits: JobLimits) -> str | None:
        """The same, of what there is."""
        return self.add(0, errors=False, limits=limits)


def too_many_errors(limits: JobLimits, error: int, processed: int) -> str | None:
    """What limit is passed by these counts, in words."""
    if limits.max_errors is not None and error > limits.max_errors:
        return f"{error} items failed, more than the {limits.max_errors} allowed (max_errors)"
    share = limits.max_error_share
    if share is not None and processed >= 100 and error > share * processed:
        return f"{error} of {processed} items failed, more than the {share:.2%} allowed (max_error_share)"
    return None


def _seconds_left(left: int | None, rate: float) -> float | None:
    """Until so many more items are done with at this rate; None if nobody can say."""
    if left is None or left > rate * LONGEST_ETA_S or rate <= 0:
        return None
    return left / rate
