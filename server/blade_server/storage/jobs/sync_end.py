"""What the end of a job means for its sync, in the transaction that ends the job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from blade_server.model import JobKind, Status
from blade_server.model.sync_end import SyncEnd
from blade_server.model.sync_report import SyncCounts
from blade_server.storage import tables
from blade_server.storage.codec import counts_document, counts_from, cursor_column, report_document
from blade_server.storage.jobs.endings import tell_end

_job, _sync, _change = tables.job, tables.sync, tables.sync_change
_KEEPS_EQUAL = frozenset({JobKind.SYNC, JobKind.APPLY})
"""Kinds whose success is the sync's, and whose failure is."""


def end_in_sync(connection: Connection, job_id: str, status: Status, end: SyncEnd | None = None) -> None:
    """Counts a job that has just become final, and moves what a COMPLETED one moves; nothing for jobs of no sync.

    `end`: what the run found, known to whoever ran it; None: nobody did, and what it recorded stays.
    """
    columns = (_job.c.sync, _job.c.writes, _job.c.kind, _job.c.report, _job.c.task)
    job = connection.execute(select(*columns).where(_job.c.job_id == job_id)).one()
    if not job.sync:
        return
    report = job.report
    if end is not None:
        report = report_document(end.report)
        connection.execute(update(_job).where(_job.c.job_id == job_id).values(report=report))
        if end.changes:
            connection.execute(insert(_change), [{"job_id": job_id, **asdict(change)} for change in end.changes])
    tell_end(connection, job_id, status)
    if not job.writes:
        return
    found = select(_sync.c.totals, _sync.c.spec).where(_sync.c.name == job.sync).with_for_update()
    sync = connection.execute(found).one_or_none()
    if sync is None:
        return
    values = _values(job_id, job.kind, sync.totals, report, status)
    if end is not None:
        values |= _moves(end, status)
    if cursor_column(job.task.get("spec", {})) != cursor_column(sync.spec):
        for name in ("watermark", "watermark_type"):
            values.pop(name, None)  # it is a value of another column than the next run follows
    if values:
        connection.execute(update(_sync).where(_sync.c.name == job.sync).values(values))


def _values(job_id: str, kind: str, totals: Any, report: Any, status: Status) -> dict[str, Any]:
    if kind == JobKind.VERIFY:
        return {}
    more = counts_from(report["counts"]) if report else None
    values: dict[str, Any] = {
        "last_job_id": job_id,
        "totals": counts_document(_sum(counts_from(totals), more)),
    }
    return values | _outcome(status) if kind in _KEEPS_EQUAL else values


def _outcome(status: Status) -> dict[str, Any]:
    match status:
        case Status.COMPLETED:
            return {"last_success_time": func.now(), "failures": 0, "late_told": False}
        case Status.FAILED:
            return {"failures": _sync.c.failures + 1}
        case _:  # somebody wanted it to end, which is no failure
            return {}


def _moves(end: SyncEnd, status: Status) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if end.unsettled_s > 0:
        until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, end.unsettled_s)
        values["unsettled_until"] = func.greatest(_sync.c.unsettled_until, until)
    if end.forgets_feed:
        values["feed_version"] = None
    if status is not Status.COMPLETED:
        return values
    if end.feed_version is not None:
        values["feed_version"] = end.feed_version
    if end.watermark is not None:
        values |= {"watermark": end.watermark, "watermark_type": end.watermark_type}
    if end.key_hash is not None:
        values |= {"key_hash": end.key_hash, "last_whole_time": func.now(), "doubtful": False}
    if end.table_id is not None:
        values["table_id"] = end.table_id
    return values


def _sum(totals: SyncCounts, more: SyncCounts | None) -> SyncCounts:
    if more is None:
        return totals
    counts = asdict(totals)
    return SyncCounts(**{name: counts[name] + value for name, value in asdict(more).items()})
