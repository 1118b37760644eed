"""Due times: which syncs they are of, and what became of each.

A due time is decided by the one transaction that moves the sync on to the next: with it go the row that says what
became of it, and the job that it starts. So a server that dies leaves nothing half done, and no two start the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from blade_server.model import NewJob
from blade_server.model.access import Caller
from blade_server.model.due import Due
from blade_server.model.notification import NotificationEvent
from blade_server.model.sync import FireOutcome, Overlap, Sync, SyncFire
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.runs import OPEN
from blade_server.storage.outbox import queue
from blade_server.storage.sync.rows import shown, sync_from

SYNCS = "syncs"
log = logging.getLogger(__name__)

FIRES_KEPT_S = 30 * 86400.0

_job, _sync, _fire = tables.job, tables.sync, tables.sync_fire

_NEXT = text(
    """
    SELECT extract(epoch FROM min(next_due) - clock_timestamp())::float8 FROM sync
    WHERE next_due IS NOT NULL AND NOT paused
    """
)

_SINCE = "coalesce(last_success_time, create_time) + make_interval(secs => (spec ->> 'max_age_s')::float8)"
_NOW_LATE = text(
    f"""
    UPDATE sync SET late_told = true
    WHERE name IN (SELECT name FROM sync WHERE NOT late_told AND (spec ->> 'max_age_s')::float8 > 0
                   AND {_SINCE} < now() ORDER BY name LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING name, last_success_time, spec ->> 'max_age_s' AS max_age_s
    """  # noqa: S608 - from this file
)
_LATE_NO_MORE = text(
    f"""
    UPDATE sync SET late_told = false
    WHERE name IN (SELECT name FROM sync WHERE late_told
                   AND ((spec ->> 'max_age_s')::float8 = 0 OR {_SINCE} >= now()) LIMIT :limit FOR UPDATE SKIP LOCKED)
    """  # noqa: S608 - from this file
)

_FORGET = text(
    """
    DELETE FROM sync_fire WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM sync_fire WHERE time < now() - make_interval(secs => :kept_s) LIMIT :slice))
    """
)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What is to be done at `time` by PostgreSQL's clock. `next_s`: until the next due time; None: there is none.

    `due`: syncs whose next due time has come; `queued`: those whose run waited for another, which has ended.
    """

    time: datetime
    due: Sequence[Sync]
    queued: Sequence[Sync]
    next_s: float | None


class DueStore:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database, new_jobs: NewJobs) -> None:
        self._database = database
        self._new_jobs = new_jobs

    def waiting(self, *, server: str, limit: int) -> Waiting:
        """At most `limit` syncs of each kind, for each server in another order, so that they do not meet."""
        mixed = func.md5(_sync.c.name + server)
        come = shown().where(_sync.c.next_due <= func.clock_timestamp(), ~_sync.c.paused)
        free = shown().where(_sync.c.queued, ~_sync.c.paused, ~_writes_now())
        with self._database.read() as connection:
            time = connection.execute(select(func.clock_timestamp())).scalar_one()
            due = self._syncs(connection, come.order_by(mixed).limit(limit))
            queued = self._syncs(connection, free.order_by(mixed).limit(limit))
            next_s = connection.execute(_NEXT).scalar()
        return Waiting(time=time, due=due, queued=queued, next_s=None if next_s is None else float(next_s))

    def _syncs(self, connection: Connection, query: Select[Any]) -> list[Sync]:
        return [sync for row in connection.execute(query) if (sync := _read(row)) is not None]

    def settle(
        self, sync: Sync, due: Due, new: NewJob | None, *, by: Caller, otherwise: tuple[FireOutcome, str] | None = None
    ) -> bool:
        """Writes what became of the due times that have come, and starts `new` if nothing is in its way.

        False: they are no longer this server's to settle, and nothing is done. `otherwise`: what becomes of the due
        time where there is no job. Raises what storing a job does; then nothing is done either.
        """
        with self._database.begin() as connection:
            held = (_sync.c.next_due == sync.next_run_time, _sync.c.etag == sync.etag, ~_sync.c.paused)
            row = self._hold(connection, sync, *held)
            if row is None:
                return False
            if due.missed and due.first_missed is not None:
                self._fire(connection, sync.name, _missed(due, due.first_missed))
            values: dict[str, Any] = {"next_due": due.next_time}
            starts = False
            if due.time is not None:
                outcome, detail = otherwise or self._outcome(connection, sync, row)
                starts = new is not None and outcome is FireOutcome.STARTED
                if outcome is FireOutcome.BLOCKED:
                    self._tell_blocked(connection, sync, due.time, detail)
                values["queued"] = row.queued or outcome is FireOutcome.QUEUED
                job_id = new.job_id if new is not None and starts else ""
                fire = SyncFire(due_time=due.time, outcome=outcome, job_id=job_id, detail=detail)
                starts &= self._fire(connection, sync.name, fire)
            connection.execute(update(_sync).where(_sync.c.name == sync.name).values(values))
            if starts and new is not None and due.time is not None:
                self._new_jobs.insert(connection, new, by=by, reason=_why(due.time))
            return True

    def start_queued(
        self, sync: Sync, new: NewJob | None, *, by: Caller, otherwise: tuple[FireOutcome, str] | None = None
    ) -> bool:
        """As `settle`, for the due time that waited for the end of a run."""
        with self._database.begin() as connection:
            row = self._hold(connection, sync, _sync.c.queued, _sync.c.etag == sync.etag, ~_sync.c.paused)
            if row is None or self._writer(connection, sync.name):
                return False
            connection.execute(update(_sync).where(_sync.c.name == sync.name).values(queued=False))
            due_time = self._queued_time(connection, sync.name)
            if due_time is None:
                return True
            outcome, detail = otherwise or (FireOutcome.STARTED, "")
            if outcome is FireOutcome.BLOCKED:
                self._tell_blocked(connection, sync, due_time, detail)
            job_id = new.job_id if new is not None and outcome is FireOutcome.STARTED else ""
            decided = update(_fire).where(_fire.c.sync == sync.name, _fire.c.due_time == due_time)
            connection.execute(
                decided.values(outcome=outcome, job_id=job_id, detail=detail, time=func.clock_timestamp())
            )
            if job_id and new is not None:
                self._new_jobs.insert(connection, new, by=by, reason=_why(due_time))
            return True

    def _hold(self, connection: Connection, sync: Sync, *conditions: Any) -> Row[Any] | None:
        """The row of the sync, locked, if it is still so and nobody else has it."""
        query = select(_sync.c.queued).where(_sync.c.name == sync.name, *conditions)
        return connection.execute(query.with_for_update(skip_locked=True)).one_or_none()

    def _outcome(self, connection: Connection, sync: Sync, row: Row[Any]) -> tuple[FireOutcome, str]:
        job_id = self._writer(connection, sync.name)
        if not job_id:
            return FireOutcome.STARTED, ""
        schedule = sync.spec.schedule
        if schedule is None or schedule.overlap is Overlap.SKIP:
            return FireOutcome.SKIPPED, f"job {job_id} is not final"
        if row.queued:
            return FireOutcome.SKIPPED, f"job {job_id} is not final, and a run waits for its end already"
        return FireOutcome.QUEUED, f"waits for the end of job {job_id}"

    def _writer(self, connection: Connection, name: str) -> str:
        """The job of the sync that writes and is not final; "" if there is none."""
        query = select(_job.c.job_id).where(
            _job.c.sync == name, _job.c.sync != "", _job.c.writes, _job.c.status.in_(OPEN)
        )
        return connection.execute(query.limit(1)).scalar() or ""

    def _queued_time(self, connection: Connection, name: str) -> datetime | None:
        query = select(_fire.c.due_time).where(_fire.c.sync == name, _fire.c.outcome == FireOutcome.QUEUED)
        return connection.execute(query.order_by(_fire.c.due_time.desc()).limit(1)).scalar()

    def _fire(self, connection: Connection, name: str, fire: SyncFire) -> bool:
        """False: something became of that due time already."""
        written = insert(_fire).values(
            sync=name,
            due_time=fire.due_time,
            outcome=fire.outcome,
            job_id=fire.job_id,
            detail=fire.detail,
            time=func.clock_timestamp(),
        )
        return connection.execute(written.on_conflict_do_nothing()).rowcount == 1

    def _tell_blocked(self, connection: Connection, sync: Sync, due_time: datetime, detail: str) -> None:
        """Once, as long as the words are the same."""
        last = select(_fire.c.outcome, _fire.c.detail).where(
            _fire.c.sync == sync.name,
            _fire.c.due_time < due_time,
            _fire.c.outcome.in_([FireOutcome.STARTED, FireOutcome.BLOCKED]),
        )
        row = connection.execute(last.order_by(_fire.c.due_time.desc()).limit(1)).one_or_none()
        if row is None or (row.outcome, row.detail) != (FireOutcome.BLOCKED, detail):
            data = {"due_time": due_time.isoformat(), "words": detail, "owner": sync.owner.name}
            queue(connection, sync.name, NotificationEvent.BLOCKED, data)

    def tell_late(self, *, limit: int) -> int:
        """Tells of syncs whose last success is older than they allow, once each; how many there were."""
        with self._database.begin() as connection:
            connection.execute(_LATE_NO_MORE, {"limit": limit})
            late = connection.execute(_NOW_LATE, {"limit": limit}).all()
            for row in late:
                last = row.last_success_time
                data = {
                    "max_age_s": float(row.max_age_s),
                    "last_success_time": None if last is None else last.isoformat(),
                }
                queue(connection, row.name, NotificationEvent.LATE, data)
            return len(late)

    def forget_fires(self, *, slice_rows: int) -> bool:
        """Deletes a slice of what is known of due times of long ago. True if there may be more."""
        with self._database.begin() as connection:
            gone = connection.execute(_FORGET, {"kept_s": FIRES_KEPT_S, "slice": slice_rows})
            return gone.rowcount == slice_rows


def _read(row: Row[Any]) -> Sync | None:
    """None: only a newer server can, to whom it is left."""
    try:
        return sync_from(row)
    except (KeyError, TypeError, ValueError) as exc:
        log.error("sync %s: its row cannot be read, and its due times are left to others", row.name, exc_info=exc)
        return None


def _writes_now() -> Any:
    return exists().where(_job.c.sync == _sync.c.name, _job.c.sync != "", _job.c.writes, _job.c.status.in_(OPEN))


def _why(due_time: datetime) -> str:
    return f"due {due_time.isoformat()}"


def _missed(due: Due, first: datetime) -> SyncFire:
    """One row for all of them."""
    others = f", nor {'more than ' if due.more_missed else ''}{due.missed - 1} after it" if due.missed > 1 else ""
    return SyncFire(due_time=first, outcome=FireOutcome.MISSED, detail=f"no server started it in time{others}")
