"""Do what a plan says."""

from __future__ import annotations

from dataclasses import replace

from blade_server.core.syncs.sync_jobs import Asked, SyncJobs
from blade_server.errors import Invalid, Precondition, Reason
from blade_server.model import Job, JobKind, NewJob, Status
from blade_server.model.sync import Sync
from blade_server.storage.sync.history import PastRun, SyncHistory

MAX_AGE_S = 3600.0
"""A plan can be applied so long after it was made."""


class ApplyPlan:
    """Thread-safe."""

    def __init__(self, jobs: SyncJobs, history: SyncHistory) -> None:
        self._jobs = jobs
        self._history = history

    def __call__(self, name: str, job_id: str, asked: Asked) -> Job:
        """Stores a job that reads what the plan read and does what it says.

        Raises NotFound: the plan; Precondition: PLAN_STALE, JOB_STATUS while it is not COMPLETED; and as
        SyncJobs.start.
        """
        if not job_id:
            raise Invalid.field("job_id", "is required")
        body = {"sync": name, "kind": JobKind.APPLY, "plan_job_id": job_id}
        stored = self._jobs.replayed(asked, **body)
        if stored is not None:
            return stored
        sync = self._jobs.found(name, by=asked.by)
        plan = self._history.run(name, job_id)
        if plan.task.kind is not JobKind.PLAN:
            raise Invalid.field("job_id", f"{job_id!r} is of the kind {plan.task.kind}, not a PLAN")
        if plan.status is not Status.COMPLETED or plan.report is None:
            raise Precondition(
                f"plan {job_id!r} is {plan.status}; only one that is COMPLETED can be applied",
                reason=Reason.JOB_STATUS,
                metadata={"status": plan.status.value},
            )
        told = {"plan_job_id": job_id, "whole": plan.task.whole, "state_generation": plan.report.state_generation}
        new = self._jobs.built(sync, JobKind.APPLY, by=asked.by, **told)
        _check(sync, plan, new)
        return self._jobs.store(replace(new, statement=plan.statement), asked, **body)


def _check(sync: Sync, plan: PastRun, new: NewJob) -> None:
    """What can be told here; what the sync knows of its items is looked at when the job is stored."""
    assert new.task is not None
    if plan.age_s is None or plan.age_s > MAX_AGE_S:
        raise stale(sync.name, plan.job_id, "it was made more than an hour ago")
    if plan.task.etag != sync.etag:
        raise stale(sync.name, plan.job_id, "the sync was changed since")
    if plan.task.key_hash != new.task.key_hash:
        raise stale(sync.name, plan.job_id, "the source was changed since")


def stale(sync: str, job_id: str, why: str, way_out: str = "make a new plan") -> Precondition:
    """What a job found holds no more."""
    return Precondition(
        f"{job_id!r} is out of date: {why}; {way_out}",
        reason=Reason.PLAN_STALE,
        metadata={"job_id": job_id, "sync": sync},
    )
