"""What the end of a run means for its sync beside what it knows: a pause, a waiting run, and who is told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update

from blade_server.model import Status
from blade_server.model.notification import NotificationEvent
from blade_server.storage import tables
from blade_server.storage.jobs.rows import SYNCS, ring
from blade_server.storage.outbox import queue

_job, _sync = tables.job, tables.sync
_ROW = select(
    _job.c.job_id,
    _job.c.kind,
    _job.c.writes,
    _job.c.success_count,
    _job.c.error_count,
    _job.c.skipped_count,
    _job.c.error_reason,
    _job.c.report,
    _job.c.task["run_number"].label("run_number"),
    _sync.c.name,
    _sync.c.spec["pause_after_failures"].label("pause_after"),
    _sync.c.failures,
    _sync.c.late_told,
    _sync.c.paused,
    _sync.c.queued,
).join(_sync, _sync.c.name == _job.c.sync)


def tell_end(connection: Connection, job_id: str, status: Status) -> None:
    """To be called in the transaction that ends a job, once its report is stored, before its failure is counted.

    Of a job of no sync it does nothing. Locks the row of the sync.
    """
    row: Any = connection.execute(
        _ROW.where(_job.c.job_id == job_id, _job.c.sync != "").with_for_update(of=_sync)
    ).first()
    if row is None or not row.writes:
        return
    if row.queued:
        ring(connection, SYNCS)
    if status is Status.FAILED:
        queue(connection, row.name, NotificationEvent.RUN_FAILED, _told(row, status))
        _pause_after_failures(connection, row)
    if status is Status.COMPLETED:
        _completed(connection, row)


def _completed(connection: Connection, row: Row[Any]) -> None:
    told = _told(row, Status.COMPLETED)
    if row.error_count:
        queue(connection, row.name, NotificationEvent.COMPLETED_WITH_ERRORS, told)
    if told.get("counts", {}).get("withheld"):
        queue(connection, row.name, NotificationEvent.DELETES_WITHHELD, told)
    if row.failures or row.late_told:
        connection.execute(update(_sync).where(_sync.c.name == row.name).values(late_told=False))
        queue(connection, row.name, NotificationEvent.RECOVERED, told)


def _pause_after_failures(connection: Connection, row: Row[Any]) -> None:
    failures, most = row.failures + 1, int(row.pause_after or 0)
    if row.paused or not most or failures < most:
        return
    words = f"{failures} runs failed in a row, {row.job_id} last; the sync paused itself (pause_after_failures)"
    paused = {"paused": True, "pause_reason": words, "next_due": None, "queued": False}
    connection.execute(update(_sync).where(_sync.c.name == row.name).values(paused))
    queue(connection, row.name, NotificationEvent.SELF_PAUSED, {**_told(row, Status.FAILED), "words": words})


def _told(row: Row[Any], status: Status) -> dict[str, Any]:
    """Numbers and names. The job's own message may quote a row, and is not among them."""
    told: dict[str, Any] = {
        "job_id": row.job_id,
        "kind": row.kind,
        "status": status.value,
        "run_number": row.run_number,
        "rows": {"success": row.success_count, "error": row.error_count, "skipped": row.skipped_count},
    }
    if row.error_reason:
        told["reason"] = row.error_reason
    if row.report:
        told["counts"] = dict(row.report.get("counts") or {})
        if row.report.get("withheld_reason"):
            told["withheld_reason"] = row.report["withheld_reason"]
    return told
