"""Control of jobs: what callers ask of them, written into the job's history with who asked and why.

What no server has to do is done here at once; the rest is asked of the server that runs the job (`pending_action`),
which answers in `claims.py`. Every change is guarded by the row's lock and status.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from blade_server.errors import Precondition, Reason, check_may
from blade_server.metrics.families import JOBS_ENDED
from blade_server.model import FINAL, Action, EventKind, Job, JobLimits, Status, WaitReason
from blade_server.model.access import Caller, Deed
from blade_server.storage import audit, tables
from blade_server.storage.codec import limits_from
from blade_server.storage.database import Database
from blade_server.storage.jobs.rows import (
    CHANGED,
    QUEUED,
    SETTLED,
    add_event,
    count_for_source,
    job_from,
    not_found,
    ring,
    ring_queue,
)
from blade_server.storage.jobs.sync_end import end_in_sync

_job = tables.job


class JobControl:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pause(self, job_id: str, *, by: Caller, reason: str) -> Job:
        """Asks for a pause, or writes PAUSED at once if no server has the job. Idempotent; a cancel under way stays."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id, by)
            if row.status == Status.PAUSED or (row.status == Status.RUNNING and row.pending_action):
                return job_from(row)
            if row.status != Status.RUNNING:
                raise _wrong_status(row, "paused", "only a RUNNING job can be")
            add_event(connection, job_id, EventKind.PAUSE_REQUESTED, actor=by.name, reason=reason)
            if row.owner is not None:
                return self._obey(connection, job_id, by, reason, pending_action=Action.PAUSE)
            add_event(connection, job_id, EventKind.PAUSED, actor=by.name)
            return self._obey(
                connection,
                job_id,
                by,
                reason,
                status=Status.PAUSED,
                pause_time=func.now(),
                current_operation="Paused",
                wait_reason=WaitReason.PAUSE_REQUESTED,
                wait_detail="",
            )

    def resume(self, job_id: str, *, by: Caller, reason: str) -> Job:
        """Lets a paused job go on, or takes back a pause that is not done yet. Idempotent."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id, by)
            if row.status == Status.RUNNING and row.pending_action is None:
                return job_from(row)
            if row.status not in (Status.RUNNING, Status.PAUSED) or row.pending_action == Action.CANCEL:
                raise _wrong_status(row, "resumed", "only a PAUSED job can be")
            add_event(connection, job_id, EventKind.RESUMED, actor=by.name, reason=reason)
            if row.status == Status.RUNNING:
                return self._obey(connection, job_id, by, reason, pending_action=None)
            if row.owner is None:
                ring_queue(connection)
            return self._obey(
                connection,
                job_id,
                by,
                reason,
                status=Status.RUNNING,
                paused_s=_job.c.paused_s + func.extract("epoch", func.now() - _job.c.pause_time),
                pause_time=None,
                current_operation="Resuming",
                **QUEUED,
            )

    def cancel(self, job_id: str, *, by: Caller, reason: str) -> Job:
        """Asks for the end, or writes CANCELLED at once if nothing can be in flight. Idempotent."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id, by)
            if row.status == Status.CANCELLED or row.pending_action == Action.CANCEL:
                return job_from(row)
            if row.status in FINAL:
                raise _wrong_status(row, "cancelled", "a final status never changes")
            add_event(connection, job_id, EventKind.CANCEL_REQUESTED, actor=by.name, reason=reason)
            if row.status == Status.RUNNING and row.owner is not None:
                return self._obey(connection, job_id, by, reason, pending_action=Action.CANCEL)
            job = self._obey(connection, job_id, by, reason, **self._cancelled(connection, job_id, row, by))
        JOBS_ENDED.labels(job.source.name, job.status).inc()
        return job

    def cancel_abandoned(self, job_id: str, *, by: Caller) -> Job:
        """Writes CANCELLED for a job whose server let its lease run out before it saw the request; else leaves it."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id, by)
            expired = _job.c.lease_until < func.now()
            abandoned = row.owner is None or connection.execute(select(expired).where(_job.c.job_id == job_id)).scalar()
            if row.status != Status.RUNNING or row.pending_action != Action.CANCEL or not abandoned:
                return job_from(row)
            job = self._change(connection, job_id, **self._cancelled(connection, job_id, row, by))
        JOBS_ENDED.labels(job.source.name, job.status).inc()
        return job

    def _cancelled(self, connection: Connection, job_id: str, row: Row[Any], by: Caller) -> dict[str, Any]:
        """What becomes of its columns."""
        add_event(connection, job_id, EventKind.CANCELLED, actor=by.name)
        count_for_source(connection, job_id)
        end_in_sync(connection, job_id, Status.CANCELLED)
        paused = _job.c.paused_s + func.extract("epoch", func.now() - _job.c.pause_time) if row.pause_time else None
        return {
            "status": Status.CANCELLED,
            "end_time": func.now(),
            "pause_time": None,
            "owner": None,
            "lease_until": None,
            "pending_action": None,
            **({} if paused is None else {"paused_s": paused}),
            **SETTLED,
            "current_operation": "Cancelled",
        }

    def set_limits(self, job_id: str, limits: JobLimits, *, by: Caller, reason: str) -> Job:
        """Replaces the limits of a job that is not final; the same ones again change nothing."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id, by)
            if row.status in FINAL:
                raise _wrong_status(row, "given new limits", "it has ended")
            if limits_from(row.spec["limits"]) == limits:
                return job_from(row)
            add_event(
                connection, job_id, EventKind.LIMITS_CHANGED, actor=by.name, reason=reason, detail=_in_words(limits)
            )
            return self._obey(connection, job_id, by, reason, spec={**row.spec, "limits": asdict(limits)})

    def _locked(self, connection: Connection, job_id: str, by: Caller) -> Row[Any]:
        row = connection.execute(select(_job).where(_job.c.job_id == job_id).with_for_update()).one_or_none()
        if row is None or not by.sees.covers(row.source, row.data_type):
            raise not_found(job_id)
        check_may(by, row.source, row.data_type, f"job {job_id!r}")
        return row

    def _obey(self, connection: Connection, job_id: str, by: Caller, reason: str, **values: Any) -> Job:
        """Changes what the caller asked for, and tells the audit log."""
        job = self._change(connection, job_id, **values)
        audit.write(connection, by, Deed(about=f"job:{job_id}", reason=reason))
        return job

    def _change(self, connection: Connection, job_id: str, **values: Any) -> Job:
        changed = update(_job).where(_job.c.job_id == job_id).values(**values, **CHANGED).returning(_job)
        row = connection.execute(changed).one()
        ring(connection, job_id)
        return job_from(row)


def _wrong_status(row: Row[Any], what: str, rule: str) -> Precondition:
    status = f"{row.status}, a cancel is under way" if row.pending_action == Action.CANCEL else row.status
    return Precondition(
        f"job {row.job_id!r} is {status} and cannot be {what}: {rule}",
        reason=Reason.JOB_STATUS,
        metadata={"status": row.status},
    )


def _in_words(limits: JobLimits) -> str:
    parts = []
    if limits.items_per_second:
        parts.append(f"at most {limits.items_per_second:g} items/s")
    if limits.max_errors is not None:
        parts.append(f"at most {limits.max_errors} errors")
    if limits.max_error_share is not None:
        parts.append(f"at most {limits.max_error_share:.2%} errors")
    return ", ".join(parts) or "no limits"
