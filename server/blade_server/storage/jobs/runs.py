"""A job of a sync among the others of its sync: its number, and at most one of them that writes."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, exists, select, update

from blade_server.errors import Conflict, Precondition, Reason
from blade_server.model import TRANSITIONS, JobKind, Status
from blade_server.model.sync import SyncTask
from blade_server.storage import tables

_job, _sync = tables.job, tables.sync
OPEN = tuple(status for status in Status if TRANSITIONS[status])


def begin_run(connection: Connection, task: SyncTask) -> SyncTask:
    """The task with the number of its run. Locks the row of the sync until the transaction ends.

    Raises Conflict if the sync was changed or deleted since the task was made of it; Precondition: SYNC_BUSY while
    another job of it writes, PLAN_STALE if the plan is not of what the sync knows now.
    """
    numbered = (
        update(_sync)
        .where(_sync.c.name == task.sync, _sync.c.etag == task.etag)
        .values(run_number=_sync.c.run_number + 1)
        .returning(_sync.c.run_number, _sync.c.generation)
    )
    row = connection.execute(numbered).one_or_none()
    if row is None:
        raise Conflict(f"sync {task.sync!r} was changed by somebody else at this moment; call again")
    if task.writes:
        check_idle(connection, task.sync)
    if task.kind is JobKind.APPLY:
        _check_plan(connection, task, row.generation)
    return replace(task, run_number=row.run_number, state_generation=row.generation)


def place_of(connection: Connection, task: SyncTask, catalog_id: str) -> str:
    """Which catalog a job of the sync is for: that of the first one that wrote, until what the sync knows is forgotten.

    `catalog_id`: of the destination now. Whoever calls it has locked the sync.
    """
    known = connection.execute(select(_sync.c.catalog_id).where(_sync.c.name == task.sync)).scalar_one()
    if not known and task.writes:
        connection.execute(update(_sync).where(_sync.c.name == task.sync).values(catalog_id=catalog_id))
    return known or catalog_id


def check_idle(connection: Connection, sync: str) -> None:
    """Raises Precondition while a job of the sync that writes is not final. Whoever calls it has locked the sync."""
    of_sync = (_job.c.sync == sync, _job.c.sync != "", _job.c.writes, _job.c.status.in_(OPEN))
    job_id = connection.execute(select(_job.c.job_id).where(*of_sync)).scalar()
    if job_id is not None:
        raise Precondition(
            f"job {job_id!r} of sync {sync!r} writes; wait until it has ended, or cancel it",
            reason=Reason.SYNC_BUSY,
            metadata={"job_id": job_id, "sync": sync},
        )


def _check_plan(connection: Connection, task: SyncTask, generation: int) -> None:
    """What runs did since is in the generation, or in ledgers that are not folded yet."""
    newer = exists().where(
        _job.c.sync == task.sync, _job.c.sync != "", ~_job.c.folded, _job.c.job_id > task.plan_job_id
    )
    if task.state_generation != generation or connection.execute(select(newer)).scalar_one():
        raise Precondition(
            f"plan {task.plan_job_id!r} is out of date: what sync {task.sync!r} knows of its items is another by now; "
            "make a new plan",
            reason=Reason.PLAN_STALE,
            metadata={"job_id": task.plan_job_id, "sync": task.sync},
        )
