"""Jobs in PostgreSQL as callers see them; `new.py` stores them, `control.py` steers them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Select,
    select,
    text,
)

from blade_server.model import (
    ItemError,
    Job,
    JobKind,
    Status,
)
from blade_server.model.access import Scope
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.jobs.documents import job_from_document, shown
from blade_server.storage.jobs.live import LiveJobs
from blade_server.storage.jobs.rows import (
    AS_SHOWN,
    error_from,
    job_from,
    not_found,
)
from blade_server.storage.within import within

_job = tables.job
_error = tables.job_item_error

_SHOWN = text(shown(job_ids=":job_ids", history=":history"))


class JobStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.live = LiveJobs(database)

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
        with_errors: bool = False,
        kinds: Collection[JobKind] = (),
        sync: str = "",
        seen: Scope,
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
        if with_errors:
            query = query.where(_job.c.completed_with_errors)
        if kinds:
            query = query.where(_job.c.kind.in_(list(kinds)))
        if sync:
            query = query.where(_job.c.sync == sync, _job.c.sync != "")
        query = query.where(within(seen, _job.c.source, _job.c.data_type))
        with self._database.begin() as connection:
            return [job_from(row) for row in connection.execute(query)]

    def errors(
        self, job_id: str, *, after_seq: int, limit: int, seen: Scope, reads: Scope
    ) -> tuple[list[tuple[int, ItemError]], bool]:
        """At most `limit` item errors behind `after_seq`, each with its number; and whether the job is in `reads`.

        Raises NotFound.
        """
        query: Select[Any] = (
            select(_error)
            .where(_error.c.job_id == job_id, _error.c.seq > after_seq)
            .order_by(_error.c.seq)
            .limit(limit)
        )
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
            readable = reads.all
            if not rows or not readable:
                of_job = select(_job.c.source, _job.c.data_type).where(_job.c.job_id == job_id)
                job = connection.execute(of_job).one_or_none()
                if job is None or not seen.covers(job.source, job.data_type):
                    raise not_found(job_id)
                readable = reads.covers(job.source, job.data_type)
            return [(row.seq, error_from(row)) for row in rows], readable
