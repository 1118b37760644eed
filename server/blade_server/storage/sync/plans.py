"""What a PLAN of a sync has read, for the job that does what it says."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import select

from blade_server.model import Plan
from blade_server.storage import tables
from blade_server.storage.codec import report_from, task_from
from blade_server.storage.database import Database

_job = tables.job


@dataclass(frozen=True, kw_only=True)
class Planned:
    """`state_generation`: of what the sync knew then."""

    plan: Plan
    key_hash: str
    state_generation: int


class PlanStore:
    """Raises StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str) -> Planned | None:
        """What a PLAN that is COMPLETED read; None: it is not kept any more."""
        query = select(_job.c.task, _job.c.plan, _job.c.report).where(_job.c.job_id == job_id)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not row.task or not row.report:
            return None
        return Planned(
            plan=Plan(**{field.name: row.plan[field.name] for field in fields(Plan) if field.name in row.plan}),
            key_hash=task_from(row.task).key_hash,
            state_generation=report_from(row.report).state_generation,
        )
