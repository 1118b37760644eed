"""Jobs in PostgreSQL as callers see them; `new_jobs.py` stores them, `job_control.py` steers them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from blade_server.errors import Reason
from blade_server.model import (
    ErrorSummary,
    EventKind,
    ItemError,
    Job,
    JobEvent,
    Status,
)
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.job_rows import (
    AS_SHOWN,
    error_from,
    job_from,
    not_found,
)

_job = tables.job
_error = tables.job_item_error

SAMPLES = 5
HISTORY = 100


# Put together once: GetJob and the watchers ask these all the time.
_MANY = AS_SHOWN.where(_job.c.job_id == func.any(bindparam("job_ids", type_=ARRAY(Text))))
_MANY_WITH_HISTORY = _MANY.add_columns(
    literal_column(
        f"""(SELECT json_agg(entry ORDER BY seq) FROM (
            SELECT seq, kind, time, actor, reason, detail FROM job_event
            WHERE job_event.job_id = job.job_id ORDER BY seq DESC LIMIT {HISTORY}) AS entry)"""  # noqa: S608
    ).label("history")
)


def _events(entries: Sequence[Mapping[str, str]] | None) -> list[JobEvent]:
    return [
        JobEvent(
            kind=EventKind(entry["kind"]),
            time=datetime.fromisoformat(entry["time"]),
            actor=entry["actor"],
            reason=entry["reason"],
            detail=entry["detail"],
        )
        for entry in entries or []
    ]


class JobStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str, *, history: bool = True) -> Job:
        """The job with its error summaries and, if asked, its history. Raises NotFound."""
        found = self.get_many([job_id], history=history)
        if not found:
            raise not_found(job_id)
        return found[0]

    def get_many(self, job_ids: Collection[str], *, history: bool = False) -> list[Job]:
        """Those of the jobs that exist, with error summaries and, if asked, their history, in no particular order."""
        with self._database.read() as connection:
            rows = connection.execute(_MANY_WITH_HISTORY if history else _MANY, {"job_ids": list(job_ids)}).all()
            summaries = self._summaries(connection, [row.job_id for row in rows if row.error_count])
        return [job_from(row, summaries.get(row.job_id, []), _events(row.history) if history else []) for row in rows]

    def _summaries(self, connection: Connection, job_ids: Sequence[str]) -> dict[str, list[ErrorSummary]]:
        if not job_ids:
            return {}
        count = tables.job_error_count
        sample = (
            select(_error)
            .where(_error.c.job_id == count.c.job_id, _error.c.reason == count.c.reason)
            .order_by(_error.c.seq)
            .limit(SAMPLES)
            .lateral("sample")
        )
        query = (
            select(count.c["items"].label("total"), sample)
            .select_from(count.join(sample, text("true")))
            .where(count.c.job_id.in_(job_ids))
            .order_by(count.c.job_id, count.c["items"].desc(), count.c.reason, sample.c.seq)
        )
        grouped: dict[tuple[str, str], tuple[int, list[ItemError]]] = {}
        for row in connection.execute(query):
            grouped.setdefault((row.job_id, row.reason), (row.total, []))[1].append(error_from(row))
        summaries: dict[str, list[ErrorSummary]] = {}
        for (job_id, reason), (total, samples) in grouped.items():
            summaries.setdefault(job_id, []).append(ErrorSummary(reason=Reason(reason), count=total, samples=samples))
        return summaries

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
