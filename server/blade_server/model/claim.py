"""A claim: the right of one server to run one job, what it is to run, and what callers want of it."""

from __future__ import annotations

from dataclasses import dataclass

from blade_server.model.job import Action, Job, JobLimits, Status
from blade_server.model.sync import SyncTask


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run: at first with the tables resolved; from the first claim on with pinned versions and counted.

    `version` is that of the source's table; None: it has none. Of jobs of syncs: whether all rows of the source are
    read (`whole`), and if not, after which value of the cursor or version of the feed (`since`); `table_id` tells the
    table from another one under its name.
    """

    statement: str
    announced: int | None = None
    version: int | None = None
    whole: bool = True
    since: str = ""
    table_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to run a job, and the job as it was when it was claimed."""

    job: Job
    owner: str
    epoch: int
    plan: Plan
    last_record: int = 0
    """Number of the last record that an earlier claim committed."""
    taken_over: bool = False
    """From a server that let its lease run out: what it sent last may still be on its way."""
    doubtful: bool = False
    """The database was put back to an older state: whatever it does not record may have been sent."""
    trace: str = ""
    """The span of the call that stored the job, as a traceparent; empty, there was none."""

    task: SyncTask | None = None
    """What a job of a sync has to do."""

    @property
    def job_id(self) -> str:
        """Id of the job."""
        return self.job.job_id


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What callers want of a running job now; those of a higher revision are newer."""

    revision: int
    status: Status
    pending_action: Action | None
    limits: JobLimits
