"""Rows of the job tables: to the model, and the few writes that callers' and the engine's transactions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, text

from blade_server.errors import NotFound, Reason
from blade_server.model import (
    Action,
    ErrorSummary,
    EventKind,
    ItemError,
    Job,
    JobEvent,
    JobKind,
    Stage,
    Status,
    WaitReason,
)
from blade_server.model.cost import Cost
from blade_server.storage import tables
from blade_server.storage.codec import report_from, source_from, spec_from
from blade_server.storage.costs import ADDED, COST, TODAY
from blade_server.storage.database import BELL

_job = tables.job
QUEUE = "queue"
"""Rung in the place of a job's id when a job waits for a server: what progress rings is no reason to look for one."""
SYNCS = "syncs"
"""Rung likewise when a sync has another due time, or when the run that one of its due times waited for has ended."""

AS_SHOWN = select(_job, (_job.c.lease_until < func.now()).label("lease_is_over"))
"""Jobs as callers see them."""

SETTLED: dict[str, Any] = {
    "wait_reason": None,
    "wait_detail": "",
    "items_per_second": 0.0,
    "estimated_completion": None,
}
"""What is true of every final job."""

QUEUED: dict[str, Any] = {"wait_reason": WaitReason.QUEUED, "wait_detail": "waiting for a free place on a server"}
"""What is true of every job that waits for a server."""

CHANGED: dict[str, Any] = {"revision": _job.c.revision + 1, "update_time": func.now()}
"""What every change of a job writes as well: watchers go by the revision."""


def not_found(job_id: str) -> NotFound:
    """No job has that id."""
    return NotFound(f"there is no job {job_id!r}", reason=Reason.JOB_NOT_FOUND)


def job_from(row: Row[Any]) -> Job:
    """A row of `job` as a Job."""
    return shown_job(row._asdict())


def shown_job(
    values: Mapping[str, Any], summaries: Sequence[ErrorSummary] = (), history: Sequence[JobEvent] = ()
) -> Job:
    """The columns of `job` as a Job.

    Those of `AS_SHOWN` know more: a RUNNING job whose lease ran out has lost its server and waits for another.
    """
    job = _job_from(values, summaries, history)
    if job.status is Status.RUNNING and values.get("lease_is_over"):
        return replace(
            job,
            wait_reason=WaitReason.RECOVERING,
            wait_detail=f"{values['owner']} does not answer any more; another server takes over",
            items_per_second=0.0,
            estimated_completion=None,
        )
    return job


def _job_from(values: Mapping[str, Any], summaries: Sequence[ErrorSummary], history: Sequence[JobEvent]) -> Job:
    wait_reason, pending_action, error_reason = values["wait_reason"], values["pending_action"], values["error_reason"]
    return Job(
        job_id=values["job_id"],
        status=Status(values["status"]),
        spec=spec_from(values["spec"]),
        source=source_from(values["source_json"]),
        total_items=values["total_items"],
        success_count=values["success_count"],
        error_count=values["error_count"],
        skipped_count=values["skipped_count"],
        items_per_second=float(values["items_per_second"]),
        bytes_uploaded=values["bytes_uploaded"],
        current_operation=values["current_operation"],
        estimated_completion=values["estimated_completion"],
        wait_reason=WaitReason(wait_reason) if wait_reason else None,
        wait_detail=values["wait_detail"],
        pending_action=Action(pending_action) if pending_action else None,
        error_reason=Reason(error_reason) if error_reason else None,
        error_message=values["error_message"],
        create_time=values["create_time"],
        start_time=values["start_time"],
        end_time=values["end_time"],
        update_time=values["update_time"],
        revision=values["revision"],
        paused_s=float(values["paused_s"]),
        parent_job_id=values["parent_job_id"],
        starter=values["starter"],
        error_summaries=summaries,
        history=history,
        kind=JobKind(values["kind"]),
        sync=values["sync"],
        report=report_from(values["report"]) if values["report"] else None,
        cost=Cost(**{name: values[name] for name in COST}),
    )


def error_from(row: Row[Any]) -> ItemError:
    """A row of `job_item_error` as an ItemError."""
    return ItemError(
        item_id=row.item_id,
        stage=Stage(row.stage),
        reason=Reason(row.reason),
        field=row.field,
        message=row.message,
        attempts=row.attempts,
        row_json=row.row_json,
        create_time=row.create_time,
        identical=row.identical,
    )


def add_event(
    connection: Connection, job_id: str, kind: EventKind, *, actor: str = "", reason: str = "", detail: str = ""
) -> None:
    """Writes one entry of a job's history."""
    connection.execute(
        insert(tables.job_event).values(
            job_id=job_id,
            kind=kind,
            time=func.clock_timestamp(),
            actor=storable(actor),
            reason=storable(reason),
            detail=storable(detail),
        )
    )


def storable(words: str) -> str:
    """PostgreSQL's text takes no NUL, and no half of a surrogate pair."""
    return words.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()


def ring(connection: Connection, job_id: str) -> None:
    """Tells all replicas, once this transaction is committed, that the job has changed."""
    connection.execute(text(f"SELECT pg_notify({BELL}, :job_id)"), {"job_id": job_id})


def ring_queue(connection: Connection) -> None:
    """Tells all replicas, once this transaction is committed, that a job waits for a server."""
    ring(connection, QUEUE)


def adding(cost: Cost) -> dict[str, Any]:
    """What is written of a job that took so much more in the warehouse."""
    return {name: _job.c[name] + more for name, more in asdict(cost).items() if more}


_COUNT = text(
    f"""
    WITH counted AS (
        UPDATE source SET item_count = item_count + job.success_count, last_success_time = job.update_time
        FROM job WHERE job.job_id = :job_id AND source.name = job.source AND job.success_count > 0
    )
    INSERT INTO source_cost (day, source, {", ".join(COST)})
    SELECT {TODAY}, source, {", ".join(COST)} FROM job WHERE job_id = :job_id AND statements > 0
    {ADDED}
    """  # noqa: S608 - names from storage
)


def count_for_source(connection: Connection, job_id: str) -> None:
    """Adds the items of a job that ends in this transaction, and what it took, to its source's."""
    connection.execute(_COUNT, {"job_id": job_id})
