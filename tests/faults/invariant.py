"""The invariant of every scenario: what is in the catalog is what is in the warehouse, minus the recorded item errors.

Item by item: the id, how often it is stored, and the stored content against the row it was made from.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.faults.tables import Row
from tests.faults.tally import Losses

from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.job_pb2 import ItemError, Job
from blade_sandbox.check import same

_DUPLICATE = ErrorReason.ERROR_REASON_DUPLICATE_ITEM_ID
_NO_ID = ErrorReason.ERROR_REASON_MISSING_ITEM_ID


class Audit:
    """Compares one job's outcome with its table. `problems` has a sentence for each thing that is not right."""

    def __init__(
        self, job: Job, rows: Sequence[Row], items: Iterable[Mapping[str, Any]], errors: Sequence[ItemError]
    ) -> None:
        self._job = job
        self._total = len(rows)
        self._rows: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row["item_id"]:
                self._rows[row["item_id"]].append(row)
        self._nameless = len(rows) - sum(map(len, self._rows.values()))
        self._items = {item["itemId"]: item for item in items}
        self._errors = errors
        self.problems: list[str] = []

    def losses(self) -> Losses:
        """What is lost, doubled and wrong. A job that did not complete can only lose what it says it has uploaded."""
        failed = {error.item_id for error in self._errors if error.reason not in (_DUPLICATE, _NO_ID)}
        if self._job.status == Job.COMPLETED:
            lost = self._some("not in the catalog", self._rows.keys() - self._items.keys() - failed)
        else:
            lost = max(0, self._job.success_count - len(self._items))
        copies = {item_id: item["copies"] for item_id, item in self._items.items() if item["copies"] != 1}
        wrong = self._some("in the catalog but not in the warehouse", self._items.keys() - self._rows.keys())
        wrong += self._some("in the catalog although recorded as failed", self._items.keys() & failed)
        wrong += self._some(
            "other than in the warehouse",
            {item_id for item_id, item in self._items.items() if not self._is_right(item_id, item)},
        )
        self._some("stored more than once", copies)
        return Losses(lost=lost, doubled=sum(copies.values()) - len(copies), wrong=wrong)

    def check_counters(self) -> None:
        """The counters of the job against what is there."""
        job, reasons = self._job, Counter(error.reason for error in self._errors)
        processed = job.success_count + job.error_count + job.skipped_count
        self._equal("processed_items", job.processed_items, processed)
        self._equal("error_count", job.error_count, len(self._errors))
        summaries = {summary.reason: summary.count for summary in job.error_summaries}
        self._equal("the error summaries", summaries, dict(reasons))
        if job.status != Job.COMPLETED:
            return
        self._equal("total_items", job.total_items, self._total)
        self._equal("success + error + skipped", processed, self._total)
        self._equal("success_count", job.success_count, len(self._items))
        self._equal("rows without an id", reasons[_NO_ID], self._nameless)
        doubles = sum(len(rows) - 1 for rows in self._rows.values())
        self._equal("DUPLICATE_ITEM_ID", reasons[_DUPLICATE], doubles)

    def _is_right(self, item_id: str, item: Mapping[str, Any]) -> bool:
        file = item["file"]
        return (
            file["itemId"] == item_id
            and file["classification"] == item["classification"]
            and any(same(row, file["data"]) for row in self._rows.get(item_id, ()))
        )

    def _some(self, what: str, ids: Iterable[str]) -> int:
        found = sorted(ids)
        if found:
            self.problems.append(f"{len(found)} items are {what}, such as {', '.join(found[:5])}")
        return len(found)

    def _equal(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            self.problems.append(f"{what}: {actual}, but must be {expected}")
