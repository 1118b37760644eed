"""Syncs: standing orders to keep a catalog equal to a table. What they ask for, what their runs are told and find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from blade_server.model.destination import DEFAULT_DESTINATION as DEFAULT_DESTINATION  # noqa: PLC0414 - for its users
from blade_server.model.job import JobKind, JobLimits, Status
from blade_server.model.source import Overrides
from blade_server.model.sync_report import SyncCounts, SyncMode, SyncReport


class Deletes(StrEnum):
    """What becomes of items whose rows are gone."""

    KEEP = "KEEP"
    DELETE = "DELETE"


class Overlap(StrEnum):
    """What happens with a due time that comes while a run is not final."""

    SKIP = "SKIP"
    QUEUE_ONE = "QUEUE_ONE"


class CatchUp(StrEnum):
    """What happens with due times that no server was there for."""

    NONE = "NONE"
    LATEST = "LATEST"


class NullCursor(StrEnum):
    """What becomes of rows without a value in the cursor column."""

    READ = "READ"
    REJECT = "REJECT"


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """How INCREMENTAL runs find what changed; durations in seconds."""

    column: str
    lag_s: float = 0.0
    full_every_s: float = 7 * 86400.0
    null_cursor: NullCursor = NullCursor.READ


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When runs start: `cron` (five fields) or `every_s`; the other is empty or 0. Durations in seconds."""

    cron: str = ""
    time_zone: str = "UTC"
    every_s: float = 0.0
    jitter_s: float = 0.0
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.NONE
    catch_up_window_s: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What holds deletes back. `max_deletes` None: no limit."""

    max_delete_share: float = 0.05
    max_deletes: int | None = None
    confirm_runs: int = 1
    grace_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SyncRetry:
    """How failures of a run are borne; None: as the server bears them."""

    attempts: int | None = None
    base_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class SyncSpec:
    """What is asked for, defaults filled in; see `blade.v1.SyncSpec`. `workers` 0: the server's."""

    source: str
    sql: str = ""
    filter: str = ""
    destination: str = DEFAULT_DESTINATION
    mode: SyncMode = SyncMode.CHANGED
    cursor: Cursor | None = None
    schedule: Schedule | None = None
    deletes: Deletes = Deletes.KEEP
    guards: Guards = field(default_factory=Guards)
    adopt: bool = False
    scope: str = ""
    batch_size: int = 100
    workers: int = 0
    limits: JobLimits = field(default_factory=JobLimits)
    metadata: Mapping[str, str] = field(default_factory=dict)
    classification: str = ""
    item_id: str = ""
    last_modified: str | None = None
    retry: SyncRetry = field(default_factory=SyncRetry)
    max_age_s: float = 0.0
    pause_after_failures: int = 0
    notifications: Sequence[str] = ()

    @property
    def overrides(self) -> Overrides:
        """What stands in the place of the source's mapping."""
        return Overrides(item_id=self.item_id, last_modified=self.last_modified, classification=self.classification)


@dataclass(frozen=True, kw_only=True)
class SyncOwner:
    """Whose rights due runs have: the principal who changed the spec last, with his groups of that moment."""

    name: str
    kind: str
    groups: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class SyncTask:
    """What one job of a sync has to do: the spec of the moment at which it was started, and what is its own.

    `whole`: read all rows, whatever the mode. `from_value`, `to_value`: the window of a BACKFILL over
    `window_column`. `accepts`: DELETE, the job whose withheld deletes are let go; `force_empty`: also if the source had
    no rows. `plan_job_id`: APPLY. `repair`: VERIFY. `key_hash`: of all in the spec and the source that decides what
    rows there are and what items they become; another one means that the old state says nothing about deletes.
    `etag`, `state_generation`: those of the sync when the job was started, for PLAN_STALE.
    """

    sync: str
    kind: JobKind
    run_number: int
    spec: SyncSpec
    key_hash: str
    etag: str = ""
    state_generation: int = 0
    whole: bool = False
    window_column: str = ""
    from_value: str = ""
    to_value: str = ""
    accepts: str = ""
    force_empty: bool = False
    plan_job_id: str = ""
    repair: bool = False

    @property
    def as_run(self) -> bool:
        """Whether it reads what a run reads and compares as a run does, by the mode of the sync."""
        return self.kind in {JobKind.SYNC, JobKind.PLAN, JobKind.APPLY}

    @property
    def writes(self) -> bool:
        """Whether it may send to the destination or delete there: then it is the only such job of its sync."""
        return self.kind not in {JobKind.PLAN, JobKind.VERIFY} or self.repair


@dataclass(frozen=True, kw_only=True)
class SyncState:
    """What a sync knows beside its items; changed by COMPLETED runs alone, but for `generation`.

    `generation` rises whenever the state of items changes (a fold, a reset), and fences who writes. `key_hash` is that
    of the last run over all rows. `watermark_type` is the Arrow type of the column that the watermark is a value of
    (empty: it is not known). `table_id` tells another table under the name. `doubtful`: the database was put back
    to an older state, so that what is known of items need not be so.
    """

    generation: int = 0
    run_number: int = 0
    watermark: str = ""
    watermark_type: str = ""
    feed_version: int | None = None
    table_id: str = ""
    key_hash: str = ""
    last_whole_time: datetime | None = None
    known_items: int = 0
    dirty_items: int = 0
    doubtful: bool = False


@dataclass(frozen=True, kw_only=True)
class SyncRun:
    """One run in short. `status` and times are those of its job."""

    number: int
    job_id: str
    kind: JobKind
    status: Status
    start_time: datetime | None = None
    end_time: datetime | None = None
    report: SyncReport | None = None


@dataclass(frozen=True, kw_only=True)
class Sync:
    """A sync as stored."""

    name: str
    spec: SyncSpec
    data_type: str
    etag: str = ""
    owner: SyncOwner
    paused: bool = False
    pause_reason: str = ""
    next_run_time: datetime | None = None
    last_success_time: datetime | None = None
    failures_in_a_row: int = 0
    running_job_id: str = ""
    last_run: SyncRun | None = None
    state: SyncState = field(default_factory=SyncState)
    totals: SyncCounts = field(default_factory=SyncCounts)
    create_time: datetime | None = None
    update_time: datetime | None = None
    read_time: datetime | None = None
    """When PostgreSQL was asked: ages are as of then."""
    redacted: bool = False

    @property
    def lag_s(self) -> float | None:
        """How old the last success is, in seconds; None before the first."""
        if self.last_success_time is None or self.read_time is None:
            return None
        return max(0.0, (self.read_time - self.last_success_time).total_seconds())

    @property
    def late(self) -> bool:
        """Whether the last success, or the sync itself before the first, is older than `max_age_s`."""
        since = self.last_success_time or self.create_time
        if not self.spec.max_age_s or since is None or self.read_time is None:
            return False
        return (self.read_time - since).total_seconds() > self.spec.max_age_s


class ChangeKind(StrEnum):
    """What an ItemChange is about; see `blade.v1.ItemChange.Kind`."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    REJECT = "REJECT"
    WITHHELD = "WITHHELD"


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field that differs, as JSON; empty: it is not there."""

    field: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class ItemChange:
    """A sample of a plan, a verification or a list of withheld deletes."""

    kind: ChangeKind
    item_id: str = ""
    fields: Sequence[FieldChange] = ()
    detail: str = ""


class ItemState(StrEnum):
    """What became of an item last; see `blade.v1.SyncItem.State`."""

    SENT = "SENT"
    DIRTY = "DIRTY"
    UNCERTAIN = "UNCERTAIN"
    MISSING = "MISSING"


@dataclass(frozen=True, kw_only=True)
class SyncItem:
    """What a sync knows of one item."""

    item_id: str
    state: ItemState
    run_number: int = 0
    job_id: str = ""
    sent_time: datetime | None = None
    missing_since: datetime | None = None


class FireOutcome(StrEnum):
    """What became of a due time; see `blade.v1.SyncFire.Outcome`."""

    STARTED = "STARTED"
    SKIPPED = "SKIPPED"
    QUEUED = "QUEUED"
    MISSED = "MISSED"
    BLOCKED = "BLOCKED"


@dataclass(frozen=True, kw_only=True)
class SyncFire:
    """What became of one due time."""

    due_time: datetime
    outcome: FireOutcome
    job_id: str = ""
    detail: str = ""
    time: datetime | None = None
