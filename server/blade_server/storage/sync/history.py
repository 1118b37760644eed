"""What became of a sync's runs and due times, as callers see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from blade_server.errors import NotFound, Reason
from blade_server.model import Status
from blade_server.model.sync import (
    ChangeKind,
    FieldChange,
    FireOutcome,
    ItemChange,
    SyncFire,
    SyncRun,
    SyncTask,
)
from blade_server.model.sync_report import SyncReport
from blade_server.storage import tables
from blade_server.storage.codec import report_from, task_from
from blade_server.storage.database import Database
from blade_server.storage.sync.rows import OF_THIS_SYNC, RUN_COLUMNS, run_from

_job, _sync, _fire, _sample = tables.job, tables.sync, tables.sync_fire, tables.sync_change
MAX_SAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A job of a sync, with what it had to do, what it read and what it found. `age_s`: since it ended, if it has."""

    job_id: str
    status: Status
    task: SyncTask
    statement: str
    report: SyncReport | None
    age_s: float | None


class SyncHistory:
    """All methods are one query each and raise StorageUnavailable if PostgreSQL does not answer.

    Whoever calls them has found the sync among those that the caller may see.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def runs(self, name: str, *, before_job_id: str, limit: int) -> list[SyncRun]:
        """At most `limit` jobs of the sync, newest first, older than `before_job_id` ("": from the newest)."""
        query = select(*RUN_COLUMNS).where(_sync.c.name == name, *OF_THIS_SYNC)
        if before_job_id:
            query = query.where(_job.c.job_id < before_job_id)
        with self._database.read() as connection:
            return [run_from(row) for row in connection.execute(query.order_by(_job.c.job_id.desc()).limit(limit))]

    def run(self, name: str, job_id: str) -> PastRun:
        """One of the sync's jobs. Raises NotFound."""
        query = select(_job.c.status, _job.c.task, _job.c.plan, _job.c.report, _age()).where(
            _sync.c.name == name, *OF_THIS_SYNC, _job.c.job_id == job_id
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"sync {name!r} has no job {job_id!r}", reason=Reason.JOB_NOT_FOUND)
        return PastRun(
            job_id=job_id,
            status=Status(row.status),
            task=task_from(row.task),
            statement=row.plan["statement"],
            report=report_from(row.report) if row.report else None,
            age_s=None if row.age_s is None else float(row.age_s),
        )

    def changes(self, job_id: str) -> list[ItemChange]:
        """The samples of a job, kind by kind, in the order of their ids."""
        query = select(_sample).where(_sample.c.job_id == job_id)
        with self._database.read() as connection:
            found = connection.execute(
                query.order_by(_sample.c.kind, _sample.c.item_id, _sample.c.seq).limit(MAX_SAMPLES)
            ).all()
        return [
            ItemChange(
                kind=ChangeKind(row.kind),
                item_id=row.item_id,
                fields=tuple(FieldChange(**field) for field in row.fields),
                detail=row.detail,
            )
            for row in found
        ]

    def fires(self, name: str, *, before: datetime | None, limit: int) -> list[SyncFire]:
        """At most `limit` due times, newest first, before `before` (None: from the newest)."""
        query = select(_fire).where(_fire.c.sync == name)
        if before is not None:
            query = query.where(_fire.c.due_time < before)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(_fire.c.due_time.desc()).limit(limit)).all()
        return [
            SyncFire(
                due_time=row.due_time,
                outcome=FireOutcome(row.outcome),
                job_id=row.job_id,
                detail=row.detail,
                time=row.time,
            )
            for row in found
        ]


def _age() -> Any:
    return func.extract("epoch", func.now() - _job.c.end_time).label("age_s")
