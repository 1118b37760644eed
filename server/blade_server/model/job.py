"""Jobs: what was asked for, how far it is, and which status may follow which; the storage layer guards that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from blade_server.model.cost import NO_COST, Cost
from blade_server.model.destination import DEFAULT_DESTINATION
from blade_server.model.error_reason import Reason
from blade_server.model.item import ItemError
from blade_server.model.source import Overrides, Source
from blade_server.model.sync_report import SyncReport

MAX_ITEMS = 2**53 - 1
"""Most items of one job: JSON shows counts as numbers, and beyond this most of its readers round them."""


class Status(StrEnum):
    """The customer's states, exactly."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """Written once, never left."""
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
"""Which status may follow which; no other transition exists."""

FINAL = frozenset(status for status in Status if status.final)


class JobKind(StrEnum):
    """What a job is for; see `blade.v1.Job.Kind`."""

    QUERY = "QUERY"
    SYNC = "SYNC"
    PLAN = "PLAN"
    APPLY = "APPLY"
    VERIFY = "VERIFY"
    BACKFILL = "BACKFILL"
    DELETE = "DELETE"


class Action(StrEnum):
    """What was asked of a running job and is not done yet. Cancel beats pause."""

    PAUSE = "PAUSE"
    CANCEL = "CANCEL"


class WaitReason(StrEnum):
    """Why nothing moves; see `blade.v1.Job.WaitReason`."""

    QUEUED = "QUEUED"
    WAREHOUSE_STARTING = "WAREHOUSE_STARTING"
    RATE_LIMITED = "RATE_LIMITED"
    RETRY_BACKOFF = "RETRY_BACKOFF"
    CATALOG_DOWN = "CATALOG_DOWN"
    RECOVERING = "RECOVERING"
    CATALOG_THROTTLED = "CATALOG_THROTTLED"
    PAUSE_REQUESTED = "PAUSE_REQUESTED"


@dataclass(frozen=True, kw_only=True)
class JobLimits:
    """What holds a job back; 0 or None: no limit."""

    items_per_second: float = 0.0
    max_errors: int | None = None
    max_error_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What was asked for, defaults filled in. Only `limits` can change later.

    `sql` is as the caller wrote it; the warehouse gets it with tables resolved and versions pinned, and without what
    was not there for him: rows of the source above `ceiling`, its `masked_columns`. `reads_beyond`: other sources that
    it reads go higher than that.
    """

    sql: str
    source: str
    data_type: str
    batch_size: int = 100
    workers: int = 8
    limits: JobLimits = field(default_factory=JobLimits)
    metadata: Mapping[str, str] = field(default_factory=dict)
    classification: str = ""
    skip_existing: bool = False
    item_id: str = ""
    last_modified: str | None = None
    min_classification: str = ""
    destination: str = DEFAULT_DESTINATION
    catalog_id: str = ""
    """`Destination.identity` when the job was started; empty: whichever catalog is there."""
    ceiling: str = ""
    masked_columns: Sequence[str] = ()
    reads_beyond: bool = False

    @property
    def overrides(self) -> Overrides:
        """What stands in the place of the source's mapping."""
        return Overrides(
            item_id=self.item_id,
            last_modified=self.last_modified,
            classification=self.classification,
            min_classification=self.min_classification,
        )


class Outcome(StrEnum):
    """What became of one row of a job. Together they are all rows of it."""

    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, kw_only=True)
class ErrorSummary:
    """The item errors of one reason: how many, how many of them repeat a whole row, and up to 5 of them."""

    reason: Reason
    count: int
    identical: int = 0
    samples: Sequence[ItemError] = ()


class EventKind(StrEnum):
    """The entries of a job's history; see `blade.v1.JobEvent.Kind`."""

    CREATED = "CREATED"
    CLAIMED = "CLAIMED"
    PAUSE_REQUESTED = "PAUSE_REQUESTED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    LIMITS_CHANGED = "LIMITS_CHANGED"
    RELEASED = "RELEASED"
    RETRIED = "RETRIED"


@dataclass(frozen=True, kw_only=True)
class JobEvent:
    """One entry of a job's history: what, when, who, why."""

    kind: EventKind
    time: datetime
    actor: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as last committed. `processed_items` is the sum of the three counts by construction.

    `starter`: name of the principal who started it.
    """

    job_id: str
    status: Status
    spec: JobSpec
    source: Source
    total_items: int | None = None
    success_count: int = 0
    error_count: int = 0
    skipped_count: int = 0
    items_per_second: float = 0.0
    bytes_uploaded: int = 0
    current_operation: str = ""
    estimated_completion: datetime | None = None
    wait_reason: WaitReason | None = None
    wait_detail: str = ""
    pending_action: Action | None = None
    error_reason: Reason | None = None
    error_message: str = ""
    create_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    update_time: datetime
    revision: int = 0
    paused_s: float = 0.0
    parent_job_id: str = ""
    starter: str = ""
    error_summaries: Sequence[ErrorSummary] = ()
    history: Sequence[JobEvent] = ()
    redacted: bool = False
    """Without what only those may know who read its rows."""
    kind: JobKind = JobKind.QUERY
    sync: str = ""
    report: SyncReport | None = None
    """What a job of a sync found and did, as far as it is."""
    cost: Cost = NO_COST
    """What it took in the warehouse so far, over all its claims."""

    @property
    def processed_items(self) -> int:
        """Rows that are done with, whatever became of them."""
        return self.success_count + self.error_count + self.skipped_count

    @property
    def completed_with_errors(self) -> bool:
        """Every row was processed, and some of them failed."""
        return self.status is Status.COMPLETED and self.error_count > 0
