"""New jobs: stored once for each request id, within the limit of open jobs, while their source is there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from blade_server.errors import Invalid, NotFound, QuotaExceeded, Reason
from blade_server.model import FINAL, EventKind, Job, NewJob, Status
from blade_server.model.access import Caller, Deed, Kind
from blade_server.storage import audit, tables
from blade_server.storage.codec import source_document, spec_document
from blade_server.storage.database import Database
from blade_server.storage.jobs.rows import QUEUED, add_event, job_from, not_found, ring, ring_queue

_job = tables.job


class NewJobs:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database, *, max_open: int, max_own: int = 0) -> None:
        """Jobs that are not final: at most `max_open`, and `max_own` of one principal (0: no limit)."""
        self._database = database
        self._max_open = max_open
        self._max_own = max_own

    def add(self, new: NewJob, *, by: Caller, reason: str = "") -> Job:
        """Stores a PENDING job.

        The same `request_id` and `request_hash` again return the job of the first call. Raises Invalid if the request
        id was used with another hash, QuotaExceeded if too many are not final, NotFound if the source is gone
        or the parent is being pruned.
        """
        job_id, source, parent_job_id = new.job_id, new.source, new.parent_job_id
        values = {
            "job_id": job_id,
            "source": source.name,
            "data_type": source.data_type,
            "source_json": source_document(source),
            "spec": spec_document(new.spec),
            "plan": {"statement": new.statement},
            "status": Status.PENDING,
            "current_operation": "Waiting to start",
            "request_id": by.own(new.request_id) or None,
            "request_hash": new.request_hash,
            "parent_job_id": parent_job_id,
            "level": new.level,
            "starter": by.principal.name,
            "create_time": func.now(),
            "update_time": func.now(),
            "revision": 1,
            **QUEUED,
        }
        try:
            with self._database.begin() as connection:
                stored = self._replay(connection, new.request_id, new.request_hash, by)
                if stored is not None:
                    return stored
                self._check_source(connection, source.name)
                self._check_room(connection, by)
                if parent_job_id:
                    self._hold_parent(connection, parent_job_id)
                row = connection.execute(insert(_job).values(values).returning(_job)).one()
                add_event(connection, job_id, EventKind.CREATED, actor=by.name, reason=reason)
                if parent_job_id:
                    add_event(
                        connection,
                        parent_job_id,
                        EventKind.RETRIED,
                        actor=by.name,
                        reason=reason,
                        detail=f"by {job_id}",
                    )
                connection.execute(
                    update(tables.source).where(tables.source.c.name == source.name).values(last_job_id=job_id)
                )
                ring(connection, job_id)
                ring_queue(connection)
                audit.write(connection, by, Deed(about=f"job:{job_id}", reason=reason, detail=_detail(new)))
                return job_from(row)
        except IntegrityError:  # two calls with one request id at the same moment
            stored = self.replay(new.request_id, new.request_hash, by=by)
            if stored is None:
                raise
            return stored

    def replay(self, request_id: str, request_hash: str, *, by: Caller) -> Job | None:
        """The job that an earlier call with this id and body stored. Raises Invalid as `add`."""
        if not request_id:
            return None
        with self._database.begin() as connection:
            return self._replay(connection, request_id, request_hash, by)

    def _replay(self, connection: Connection, request_id: str, request_hash: str, by: Caller) -> Job | None:
        if not request_id:
            return None
        row = connection.execute(select(_job).where(_job.c.request_id == by.own(request_id))).one_or_none()
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

    def _check_source(self, connection: Connection, source: str) -> None:
        # The lock keeps RemoveSource out until this job is stored.
        held = select(tables.source.c.name).where(tables.source.c.name == source).with_for_update(key_share=True)
        if connection.execute(held).one_or_none() is None:
            raise NotFound(
                f"source {source!r} was removed meanwhile",
                reason=Reason.SOURCE_NOT_FOUND,
            )

    def _check_room(self, connection: Connection, by: Caller) -> None:
        still_open = select(_job.c.job_id).where(_job.c.status.not_in(FINAL))
        if _are(connection, still_open, self._max_open):
            raise QuotaExceeded(
                f"{self._max_open} jobs are not final, which is the limit (BLADE_MAX_OPEN_JOBS); wait for some to end",
                subject="open jobs",
                retry_after_s=30,
            )
        if not self._max_own or by.principal.kind is Kind.OFF:
            return
        if _are(connection, still_open.where(_job.c.starter == by.principal.name), self._max_own):
            raise QuotaExceeded(
                f"{by.principal.name!r} has {self._max_own} jobs that are not final, the limit of one principal "
                "(BLADE_PRINCIPAL_JOBS); wait for some to end",
                subject="open jobs of a principal",
                retry_after_s=30,
            )


def _detail(new: NewJob) -> str:
    """What the audit log is told: also what was not there for the starter, of which he and others learn nothing."""
    words = [f"retry of {new.parent_job_id}"] if new.parent_job_id else []
    if new.spec.ceiling:
        words.append(f"rows of {new.source.name} up to {new.spec.ceiling}")
    if new.spec.masked_columns:
        words.append(f"{len(new.spec.masked_columns)} of its columns masked")
    return ", ".join(words)


def _are(connection: Connection, jobs: Select[Any], many: int) -> bool:
    """Whether there are so many of them."""
    count = select(func.count()).select_from(jobs.limit(many).subquery())
    return bool(connection.execute(count).scalar_one() >= many)
