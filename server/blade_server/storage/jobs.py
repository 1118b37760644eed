"""Jobs in PostgreSQL, as callers see and control them; what the engine writes is in `claims.py`.

Every change is guarded in the statement itself (`WHERE status ...`), raises `revision` and rings the bell.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from blade_server.errors import Invalid, NotFound, Precondition, QuotaExceeded, Reason
from blade_server.model import (
    FINAL,
    Action,
    EventKind,
    ItemError,
    Job,
    JobLimits,
    JobSpec,
    Source,
    Status,
    WaitReason,
)
from blade_server.storage import tables
from blade_server.storage.codec import limits_from, source_document, spec_document
from blade_server.storage.database import Database
from blade_server.storage.job_documents import job_from_document, shown
from blade_server.storage.job_rows import (
    AS_SHOWN,
    SETTLED,
    add_event,
    count_for_source,
    error_from,
    job_from,
    ring,
    ring_queue,
)
from blade_server.storage.live_jobs import LiveJobs

_job = tables.job
_error = tables.job_item_error


def not_found(job_id: str) -> NotFound:
    """No job has that id."""
    return NotFound(f"there is no job {job_id!r}; ListJobs shows those there are", reason=Reason.JOB_NOT_FOUND)


_SHOWN = text(shown(job_ids=":job_ids", history=":history"))
_QUEUED = {"wait_reason": WaitReason.QUEUED, "wait_detail": "waiting for a free place on a server"}
_CHANGED = {"revision": _job.c.revision + 1, "update_time": func.now()}


class JobStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.live = LiveJobs(database)

    # ------------------------------------------------------------------------------------------------ create

    def add(
        self,
        job_id: str,
        spec: JobSpec,
        source: Source,
        *,
        statement: str,
        actor: str,
        max_open_jobs: int,
        request_id: str = "",
        request_hash: str = "",
        parent_job_id: str = "",
        reason: str = "",
    ) -> Job:
        """Stores a PENDING job that will run `statement`.

        The same `request_id` and `request_hash` again return the job of the first call. Raises Invalid if the request
        id was used with another hash, QuotaExceeded if `max_open_jobs` are not final, NotFound if the source is gone
        or the parent is being pruned.
        """
        values = {
            "job_id": job_id,
            "source": source.name,
            "data_type": source.data_type,
            "source_json": source_document(source),
            "spec": spec_document(spec),
            "plan": {"statement": statement},
            "status": Status.PENDING,
            "current_operation": "Waiting to start",
            "request_id": request_id or None,
            "request_hash": request_hash,
            "parent_job_id": parent_job_id,
            "create_time": func.now(),
            "update_time": func.now(),
            "revision": 1,
            **_QUEUED,
        }
        try:
            with self._database.begin() as connection:
                stored = self._replay(connection, request_id, request_hash)
                if stored is not None:
                    return stored
                self._check_room(connection, source.name, max_open_jobs)
                if parent_job_id:
                    self._hold_parent(connection, parent_job_id)
                row = connection.execute(insert(_job).values(values).returning(_job)).one()
                add_event(connection, job_id, EventKind.CREATED, actor=actor, reason=reason)
                if parent_job_id:
                    add_event(
                        connection, parent_job_id, EventKind.RETRIED, actor=actor, reason=reason, detail=f"by {job_id}"
                    )
                connection.execute(
                    update(tables.source).where(tables.source.c.name == source.name).values(last_job_id=job_id)
                )
                ring(connection, job_id)
                ring_queue(connection)
                return job_from(row)
        except IntegrityError:  # two calls with one request id at the same moment
            stored = self.replay(request_id, request_hash)
            if stored is None:
                raise
            return stored

    def replay(self, request_id: str, request_hash: str) -> Job | None:
        """The job that an earlier call with this id and body stored. Raises Invalid as `add`."""
        if not request_id:
            return None
        with self._database.begin() as connection:
            return self._replay(connection, request_id, request_hash)

    def _replay(self, connection: Connection, request_id: str, request_hash: str) -> Job | None:
        if not request_id:
            return None
        row = connection.execute(select(_job).where(_job.c.request_id == request_id)).one_or_none()
        if row is not None and row.request_hash != request_hash:
            raise Invalid.field(
                "request_id",
                f"{request_id!r} was used before with another body; take a new id for a new job",
                reason=Reason.REQUEST_ID_REUSED,
            )
        return None if row is None else job_from(row)

    def _hold_parent(self, connection: Connection, parent_job_id: str) -> None:
        # Pruning takes the counts of errors first: with the lock, either it waits for this child, or this sees it.
        held = select(_job.c.job_id).where(_job.c.job_id == parent_job_id).with_for_update(read=True)
        count = tables.job_error_count
        kept = select(count.c.job_id).where(count.c.job_id == parent_job_id).limit(1)
        if connection.execute(held).one_or_none() is None or connection.execute(kept).one_or_none() is None:
            raise not_found(parent_job_id)

    def _check_room(self, connection: Connection, source: str, max_open_jobs: int) -> None:
        # The lock keeps RemoveSource out until this job is stored.
        held = select(tables.source.c.name).where(tables.source.c.name == source).with_for_update(key_share=True)
        if connection.execute(held).one_or_none() is None:
            raise NotFound(
                f"source {source!r} was removed meanwhile; ListSources shows those there are",
                reason=Reason.SOURCE_NOT_FOUND,
            )
        still_open = select(func.count()).select_from(
            select(_job.c.job_id).where(_job.c.status.not_in(FINAL)).limit(max_open_jobs).subquery()
        )
        if connection.execute(still_open).scalar_one() >= max_open_jobs:
            raise QuotaExceeded(
                f"{max_open_jobs} jobs are not final, which is the limit (BLADE_MAX_OPEN_JOBS); wait for some to end",
                subject="open jobs",
                retry_after_s=30,
            )

    # -------------------------------------------------------------------------------------------------- read

    def get(self, job_id: str, *, history: bool = True) -> Job:
        """The job with its error summaries and, if asked, its history. Raises NotFound."""
        found = self.get_many([job_id], history=history)
        if not found:
            raise not_found(job_id)
        return found[0]

    def get_many(self, job_ids: Collection[str], *, history: bool = False) -> list[Job]:
        """Those of the jobs that exist, with error summaries and, if asked, their history, in no particular order."""
        with self._database.read() as connection:
            documents = connection.execute(_SHOWN, {"job_ids": list(job_ids), "history": history}).scalars().all()
        return [job_from_document(document) for document in documents]

    def page(
        self,
        *,
        limit: int,
        before_job_id: str = "",
        statuses: Collection[Status] = (),
        source: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> list[Job]:
        """At most `limit` jobs, newest first, older than `before_job_id`. Ids sort by time of creation."""
        query = AS_SHOWN.order_by(_job.c.job_id.desc()).limit(limit)
        if before_job_id:
            query = query.where(_job.c.job_id < before_job_id)
        if statuses:
            query = query.where(_job.c.status.in_(list(statuses)))
        if source:
            query = query.where(_job.c.source == source)
        if created_after is not None:
            query = query.where(_job.c.create_time >= created_after)
        if created_before is not None:
            query = query.where(_job.c.create_time < created_before)
        with self._database.begin() as connection:
            return [job_from(row) for row in connection.execute(query)]

    def errors(self, job_id: str, *, after_seq: int, limit: int) -> list[tuple[int, ItemError]]:
        """At most `limit` item errors behind `after_seq`, each with its number, in order. Raises NotFound."""
        query: Select[Any] = (
            select(_error)
            .where(_error.c.job_id == job_id, _error.c.seq > after_seq)
            .order_by(_error.c.seq)
            .limit(limit)
        )
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
            if not rows and connection.execute(select(_job.c.job_id).where(_job.c.job_id == job_id)).first() is None:
                raise not_found(job_id)
            return [(row.seq, error_from(row)) for row in rows]

    # ----------------------------------------------------------------------------------------------- control

    def pause(self, job_id: str, *, actor: str, reason: str) -> Job:
        """Asks for a pause, or writes PAUSED at once if no server has the job. Idempotent; a cancel under way stays."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id)
            if row.status == Status.PAUSED or (row.status == Status.RUNNING and row.pending_action):
                return job_from(row)
            if row.status != Status.RUNNING:
                raise _wrong_status(row, "paused", "only a RUNNING job can be")
            add_event(connection, job_id, EventKind.PAUSE_REQUESTED, actor=actor, reason=reason)
            if row.owner is not None:
                return self._change(connection, job_id, pending_action=Action.PAUSE)
            add_event(connection, job_id, EventKind.PAUSED, actor=actor)
            return self._change(
                connection,
                job_id,
                status=Status.PAUSED,
                pause_time=func.now(),
                current_operation="Paused",
                wait_reason=WaitReason.PAUSE_REQUESTED,
                wait_detail="",
            )

    def resume(self, job_id: str, *, actor: str, reason: str) -> Job:
        """Lets a paused job go on, or takes back a pause that is not done yet. Idempotent."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id)
            if row.status == Status.RUNNING and row.pending_action is None:
                return job_from(row)
            if row.status not in (Status.RUNNING, Status.PAUSED) or row.pending_action == Action.CANCEL:
                raise _wrong_status(row, "resumed", "only a PAUSED job can be")
            add_event(connection, job_id, EventKind.RESUMED, actor=actor, reason=reason)
            if row.status == Status.RUNNING:
                return self._change(connection, job_id, pending_action=None)
            if row.owner is None:
                ring_queue(connection)
            return self._change(
                connection,
                job_id,
                status=Status.RUNNING,
                paused_s=_job.c.paused_s + func.extract("epoch", func.now() - _job.c.pause_time),
                pause_time=None,
                current_operation="Resuming",
                **_QUEUED,
            )

    def cancel(self, job_id: str, *, actor: str, reason: str) -> Job:
        """Asks for the end, or writes CANCELLED at once if nothing can be in flight. Idempotent."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id)
            if row.status == Status.CANCELLED or row.pending_action == Action.CANCEL:
                return job_from(row)
            if row.status in FINAL:
                raise _wrong_status(row, "cancelled", "a final status never changes")
            add_event(connection, job_id, EventKind.CANCEL_REQUESTED, actor=actor, reason=reason)
            if row.status == Status.RUNNING and row.owner is not None:
                return self._change(connection, job_id, pending_action=Action.CANCEL)
            return self._cancelled(connection, job_id, row, actor)

    def cancel_abandoned(self, job_id: str, *, actor: str) -> Job:
        """Writes CANCELLED for a job whose server let its lease run out before it saw the request; else leaves it."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id)
            expired = _job.c.lease_until < func.now()
            abandoned = row.owner is None or connection.execute(select(expired).where(_job.c.job_id == job_id)).scalar()
            if row.status == Status.RUNNING and row.pending_action == Action.CANCEL and abandoned:
                return self._cancelled(connection, job_id, row, actor)
            return job_from(row)

    def _cancelled(self, connection: Connection, job_id: str, row: Row[Any], actor: str) -> Job:
        add_event(connection, job_id, EventKind.CANCELLED, actor=actor)
        count_for_source(connection, job_id)
        paused = _job.c.paused_s + func.extract("epoch", func.now() - _job.c.pause_time) if row.pause_time else None
        return self._change(
            connection,
            job_id,
            status=Status.CANCELLED,
            end_time=func.now(),
            pause_time=None,
            owner=None,
            lease_until=None,
            pending_action=None,
            **({} if paused is None else {"paused_s": paused}),
            **SETTLED,
            current_operation="Cancelled",
        )

    def set_limits(self, job_id: str, limits: JobLimits, *, actor: str, reason: str) -> Job:
        """Replaces the limits of a job that is not final; the same ones again change nothing."""
        with self._database.begin() as connection:
            row = self._locked(connection, job_id)
            if row.status in FINAL:
                raise _wrong_status(row, "given new limits", "it has ended")
            if limits_from(row.spec["limits"]) == limits:
                return job_from(row)
            add_event(
                connection, job_id, EventKind.LIMITS_CHANGED, actor=actor, reason=reason, detail=_in_words(limits)
            )
            return self._change(connection, job_id, spec={**row.spec, "limits": asdict(limits)})

    def _locked(self, connection: Connection, job_id: str) -> Row[Any]:
        row = connection.execute(select(_job).where(_job.c.job_id == job_id).with_for_update()).one_or_none()
        if row is None:
            raise not_found(job_id)
        return row

    def _change(self, connection: Connection, job_id: str, **values: Any) -> Job:
        changed = update(_job).where(_job.c.job_id == job_id).values(**values, **_CHANGED).returning(_job)
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
