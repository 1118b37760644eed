"""Rows of the sync tables, to the model; and the row of one sync, locked for a caller who may change it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, Row, Select, cast, func, select, true

from blade_server.errors import Conflict, NotFound, Reason, check_may, meant
from blade_server.model import JobKind, Status
from blade_server.model.access import Caller, Scope
from blade_server.model.sync import Sync, SyncRun, SyncSpec, SyncState
from blade_server.storage import tables
from blade_server.storage.codec import counts_from, owner_from, report_from, sync_spec_from
from blade_server.storage.jobs.runs import OPEN
from blade_server.storage.within import within

_sync, _job = tables.sync, tables.job
FirstDue = Callable[[str, SyncSpec, datetime], datetime | None]
"""The first due time of a sync of that name and spec behind a time; None: it has none."""
_NAMES = 1000
"""So many are looked through for one that a misspelt name was meant to be."""

# A job of an older sync of the same name is none of this one.
OF_THIS_SYNC = (_job.c.sync == _sync.c.name, _job.c.sync != "", _job.c.create_time >= _sync.c.create_time)
RUN_COLUMNS = (
    _job.c.job_id.label("run_job_id"),
    cast(_job.c.task["run_number"].astext, Integer).label("run_run_number"),
    _job.c.kind.label("run_kind"),
    _job.c.status.label("run_status"),
    _job.c.start_time.label("run_start_time"),
    _job.c.end_time.label("run_end_time"),
    _job.c.report.label("run_report"),
)


def time_now(connection: Connection) -> datetime:
    """PostgreSQL's time, by which due times come."""
    time: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return time


def shown() -> Select[Any]:
    """Syncs as callers see them: with the job that writes now, and the last one that did."""
    running = (
        select(_job.c.job_id).where(*OF_THIS_SYNC, _job.c.writes, _job.c.status.in_(OPEN)).limit(1).scalar_subquery()
    )
    last = (
        select(*RUN_COLUMNS)
        .where(*OF_THIS_SYNC, _job.c.writes, _job.c.end_time.is_not(None))
        .order_by(_job.c.create_time.desc())
        .limit(1)
        .lateral("last")
    )
    return select(
        _sync, func.coalesce(running, "").label("running_job_id"), last, func.now().label("read_time")
    ).select_from(_sync.outerjoin(last, true()))


def sync_from(row: Row[Any]) -> Sync:
    """A row of `shown`."""
    return Sync(
        name=row.name,
        spec=sync_spec_from(row.spec),
        data_type=row.data_type,
        etag=row.etag,
        owner=owner_from(row.owner),
        paused=row.paused,
        pause_reason=row.pause_reason,
        next_run_time=None if row.paused else row.next_due,
        last_success_time=row.last_success_time,
        failures_in_a_row=row.failures,
        running_job_id=row.running_job_id,
        last_run=None if row.run_job_id is None else run_from(row),
        state=SyncState(
            generation=row.generation,
            run_number=row.run_number,
            watermark=row.watermark,
            feed_version=row.feed_version,
            table_id=row.table_id,
            key_hash=row.key_hash,
            last_whole_time=row.last_whole_time,
            known_items=row.known_items,
            dirty_items=row.dirty_items,
        ),
        totals=counts_from(row.totals),
        create_time=row.create_time,
        update_time=row.update_time,
        read_time=row.read_time,
    )


def run_from(row: Row[Any]) -> SyncRun:
    """The columns RUN_COLUMNS of a row."""
    return SyncRun(
        number=row.run_run_number,
        job_id=row.run_job_id,
        kind=JobKind(row.run_kind),
        status=Status(row.run_status),
        start_time=row.run_start_time,
        end_time=row.run_end_time,
        report=report_from(row.run_report) if row.run_report else None,
    )


def one(connection: Connection, name: str, seen: Scope) -> Sync:
    """The sync as it is in this transaction. Raises NotFound, also for one that may not be seen."""
    query = shown().where(_sync.c.name == name, within(seen, _sync.c.source, _sync.c.data_type))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise not_found(connection, name, seen)
    return sync_from(row)


def not_found(connection: Connection, name: str, seen: Scope) -> NotFound:
    """There is no sync of that name that he may see."""
    his = select(_sync.c.name).where(within(seen, _sync.c.source, _sync.c.data_type)).limit(_NAMES)
    names = connection.execute(his).scalars().all()
    return NotFound(f"there is no sync {name!r}{meant(name, names)}", reason=Reason.SYNC_NOT_FOUND)


def locked(connection: Connection, name: str, by: Caller, etag: str = "") -> Row[Any]:
    """The row of `sync`, locked. Raises NotFound, AccessDenied; Conflict if `etag` is given and another is stored."""
    row = connection.execute(select(_sync).where(_sync.c.name == name).with_for_update()).one_or_none()
    if row is None or not by.sees.covers(row.source, row.data_type):
        raise not_found(connection, name, by.sees)
    check_may(by, row.source, row.data_type, f"sync {name!r}")
    if etag and etag != row.etag:
        raise Conflict(f"sync {name!r} was changed by somebody else (etag {row.etag}, not {etag}); read it again")
    return row
