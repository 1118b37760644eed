"""Due times: which syncs they are of, and what became of each.

A due time is decided by the one transaction that moves the sync on to the next: with it go the row that says what
became of it, and the job that it starts. So a server that dies leaves nothing half done, and no two start the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, func, literal, null, select, text

from blade_server.errors import BladeError, QuotaExceeded
from blade_server.model.due import Due, Settlement
from blade_server.model.notification import NotificationEvent
from blade_server.model.sync import FireOutcome, Overlap, Sync, SyncFire
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.jobs.new import Held, NewJobs, Wanted
from blade_server.storage.jobs.rows import storable
from blade_server.storage.jobs.runs import OPEN
from blade_server.storage.outbox import queue
from blade_server.storage.sync.late import tell_late
from blade_server.storage.sync.rows import sync_from

SYNCS = "syncs"
log = logging.getLogger(__name__)

_job, _sync, _fire = tables.job, tables.sync, tables.sync_fire
_BARE = select(
    _sync,
    literal("").label("running_job_id"),
    null().label("run_job_id"),
    func.now().label("read_time"),
)
"""Syncs without their runs, which are dear to look for and of no use here."""

_NEXT = text(
    """
    SELECT extract(epoch FROM min(next_due) - clock_timestamp())::float8 FROM sync
    WHERE next_due IS NOT NULL AND NOT paused
    """
)

_WRITE_FIRES = text(
    """
    INSERT INTO sync_fire (sync, due_time, outcome, job_id, detail, time)
    SELECT sync, due_time, outcome, job_id, detail, clock_timestamp()
    FROM unnest(CAST(:syncs AS text[]), CAST(:times AS timestamptz[]), CAST(:outcomes AS text[]),
                CAST(:job_ids AS text[]), CAST(:details AS text[])) AS new (sync, due_time, outcome, job_id, detail)
    ON CONFLICT (sync, due_time) DO UPDATE
        SET outcome = EXCLUDED.outcome, job_id = EXCLUDED.job_id, detail = EXCLUDED.detail, time = EXCLUDED.time
        WHERE sync_fire.outcome = 'QUEUED'
    RETURNING sync, due_time
    """
)

_MOVE_ON = text(
    """
    UPDATE sync SET next_due = CASE WHEN mine.moves THEN mine.next_due ELSE sync.next_due END, queued = mine.queued,
        run_number = sync.run_number + mine.runs,
        -- That of the first run that writes, until what the sync knows is forgotten.
        catalog_id = CASE WHEN sync.catalog_id = '' THEN mine.catalog_id ELSE sync.catalog_id END
    FROM unnest(CAST(:names AS text[]), CAST(:moves AS boolean[]), CAST(:next AS timestamptz[]),
                CAST(:queued AS boolean[]), CAST(:runs AS integer[]), CAST(:catalogs AS text[]))
        AS mine (name, moves, next_due, queued, runs, catalog_id)
    WHERE sync.name = mine.name
    RETURNING sync.name, sync.run_number, sync.generation, sync.catalog_id
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
        """At most `limit` syncs of each kind: one of each owner, then the second of each, and so on.

        For each server in another order, so that they do not meet.
        """
        mixed = func.md5(_sync.c.name + server)
        turn = func.row_number().over(partition_by=_sync.c.owner["name"], order_by=mixed)
        come = _BARE.where(_sync.c.next_due <= func.clock_timestamp(), ~_sync.c.paused)
        free = _BARE.where(_sync.c.queued, ~_sync.c.paused, ~_writes_now())
        with self._database.read() as connection:
            time = connection.execute(select(func.clock_timestamp())).scalar_one()
            due = self._syncs(connection, come.order_by(turn, mixed).limit(limit))
            queued = self._syncs(connection, free.order_by(turn, mixed).limit(limit))
            next_s = connection.execute(_NEXT).scalar()
        return Waiting(time=time, due=due, queued=queued, next_s=None if next_s is None else float(next_s))

    def _syncs(self, connection: Connection, query: Select[Any]) -> list[Sync]:
        return [sync for row in connection.execute(query) if (sync := _read(row)) is not None]

    def settle(self, settlements: Sequence[Settlement]) -> int:
        """Writes what becomes of these, and starts the jobs that nothing is in the way of; how many were settled.

        Those that are no longer this server's to settle are left as they are.
        """
        with self._database.begin() as connection:
            held = self._new_jobs.hold(connection, [one.new for one in settlements if one.new is not None])
            mine = self._mine(connection, settlements)
            fates = self._fates(connection, mine, held)
            if not fates:
                return 0
            for fate in fates:
                if fate.fire.outcome is FireOutcome.BLOCKED:
                    self._tell_blocked(connection, fate.sync, fate.fire)
            fates = self._written(connection, fates)
            self._start(connection, fates, self._move_on(connection, fates, held))
            return len(fates)

    def _mine(self, connection: Connection, settlements: Sequence[Settlement]) -> list[tuple[Settlement, bool]]:
        """Those whose sync is still as it was and nobody else has, locked; with each whether a run of it waits."""
        wanted: dict[str, Settlement] = {}
        for one in settlements:
            wanted.setdefault(one.sync.name, one)
        columns = (_sync.c.name, _sync.c.next_due, _sync.c.etag, _sync.c.queued)
        query = select(*columns).where(_sync.c.name.in_(wanted), ~_sync.c.paused).order_by(_sync.c.name)
        held = []
        for row in connection.execute(query.with_for_update(skip_locked=True)):
            one = wanted[row.name]
            waits = row.queued if one.due is None else row.next_due == one.sync.next_run_time
            if waits and row.etag == one.sync.etag:
                held.append((one, row.queued))
        return held

    def _fates(self, connection: Connection, mine: Sequence[tuple[Settlement, bool]], held: Held) -> list[_Fate]:
        names = [one.sync.name for one, _ in mine]
        writers = self._writers(connection, names)
        waiting = self._waiting_times(connection, [one.sync.name for one, _ in mine if one.due is None])
        fates = [_fate(one, queued, writers.get(one.sync.name, ""), waiting.get(one.sync.name)) for one, queued in mine]
        known = [fate for fate in fates if fate is not None]
        wanted = [fate.wanted for fate in known if fate.wanted is not None]
        refused = self._new_jobs.refused(connection, wanted, held)
        return [fate.refused(refused) for fate in known]

    def _writers(self, connection: Connection, names: Sequence[str]) -> dict[str, str]:
        """The jobs of these syncs that write and are not final."""
        query = select(_job.c.sync, _job.c.job_id).where(
            _job.c.sync.in_(names), _job.c.sync != "", _job.c.writes, _job.c.status.in_(OPEN)
        )
        return {row.sync: row.job_id for row in connection.execute(query)}

    def _waiting_times(self, connection: Connection, names: Sequence[str]) -> dict[str, datetime]:
        if not names:
            return {}
        query = select(_fire.c.sync, func.max(_fire.c.due_time).label("due_time")).group_by(_fire.c.sync)
        found = query.where(_fire.c.sync.in_(names), _fire.c.outcome == FireOutcome.QUEUED)
        return {row.sync: row.due_time for row in connection.execute(found)}

    def _written(self, connection: Connection, fates: Sequence[_Fate]) -> list[_Fate]:
        """Writes what becomes of due times. Where something became of one before, that stays, and no job is started."""
        fires = [(fate.sync.name, fire) for fate in fates for fire in fate.fires]
        values = {
            "syncs": [name for name, _ in fires],
            "times": [fire.due_time for _, fire in fires],
            "outcomes": [fire.outcome.value for _, fire in fires],
            "job_ids": [fire.job_id for _, fire in fires],
            "details": [storable(fire.detail) for _, fire in fires],
        }
        new = {(row.sync, row.due_time) for row in connection.execute(_WRITE_FIRES, values)}
        return [fate if (fate.sync.name, fate.fire.due_time) in new else replace(fate, wanted=None) for fate in fates]

    def _move_on(self, connection: Connection, fates: Sequence[_Fate], held: Held) -> dict[str, Row[Any]]:
        """Sets the next due times; the number of the new run, the generation of what each sync knows, its catalog."""
        values = {
            "names": [fate.sync.name for fate in fates],
            "moves": [fate.moves for fate in fates],
            "next": [fate.next_time for fate in fates],
            "queued": [fate.queued for fate in fates],
            "runs": [int(fate.wanted is not None) for fate in fates],
            "catalogs": ["" if fate.wanted is None else held.catalog_id(fate.wanted.new) for fate in fates],
        }
        return {row.name: row for row in connection.execute(_MOVE_ON, values)}

    def _start(self, connection: Connection, fates: Sequence[_Fate], rows: Mapping[str, Row[Any]]) -> None:
        wanted = [_numbered(fate.wanted, rows[fate.sync.name]) for fate in fates if fate.wanted is not None]
        if wanted:
            self._new_jobs.insert_all(connection, wanted)

    def _tell_blocked(self, connection: Connection, sync: Sync, fire: SyncFire) -> None:
        """Once, as long as the words are the same."""
        last = select(_fire.c.outcome, _fire.c.detail).where(
            _fire.c.sync == sync.name,
            _fire.c.due_time < fire.due_time,
            _fire.c.outcome.in_([FireOutcome.STARTED, FireOutcome.BLOCKED]),
        )
        row = connection.execute(last.order_by(_fire.c.due_time.desc()).limit(1)).one_or_none()
        if row is None or (row.outcome, row.detail) != (FireOutcome.BLOCKED, fire.detail):
            data = {"due_time": fire.due_time.isoformat(), "words": fire.detail, "owner": sync.owner.name}
            queue(connection, sync.name, NotificationEvent.BLOCKED, data)

    def tell_late(self, *, limit: int) -> int:
        """See `late`."""
        return tell_late(self._database, limit=limit)


def _read(row: Row[Any]) -> Sync | None:
    """None: only a newer server can, to whom it is left."""
    try:
        return sync_from(row)
    except (KeyError, TypeError, ValueError) as exc:
        log.error("sync %s: its row cannot be read, and its due times are left to others", row.name, exc_info=exc)
        return None


def _writes_now() -> Any:
    return exists().where(_job.c.sync == _sync.c.name, _job.c.sync != "", _job.c.writes, _job.c.status.in_(OPEN))


@dataclass(frozen=True, kw_only=True)
class _Fate:
    """What becomes of a sync's due times. `moves`: to `next_time`; else only what waited is over."""

    sync: Sync
    fire: SyncFire
    missed: SyncFire | None = None
    wanted: Wanted | None = None
    moves: bool
    next_time: datetime | None = None
    queued: bool

    @property
    def fires(self) -> list[SyncFire]:
        return [self.fire] if self.missed is None else [self.missed, self.fire]

    def refused(self, refused: Mapping[str, BladeError]) -> _Fate:
        """The same where its job has no room, or no source."""
        error = refused.get(self.wanted.new.job_id) if self.wanted is not None else None
        if error is None:
            return self
        outcome = FireOutcome.SKIPPED if isinstance(error, QuotaExceeded) else FireOutcome.BLOCKED
        fire = replace(self.fire, outcome=outcome, job_id="", detail=error.message)
        return replace(self, wanted=None, fire=fire)


def _fate(one: Settlement, queued: bool, writer: str, waited: datetime | None) -> _Fate | None:
    """None: nothing is to be done yet."""
    due = one.due
    if due is None:
        if writer or waited is None:
            return None
        fire = _started(one, waited)
        return _Fate(sync=one.sync, fire=fire, wanted=_wanted(one, fire), moves=False, queued=False)
    missed = _missed(due, due.first_missed) if due.first_missed is not None else None
    if due.time is None:
        if missed is None:
            return None
        return _Fate(sync=one.sync, fire=missed, moves=True, next_time=due.next_time, queued=queued)
    fire = _overlapping(one, due.time, writer, queued) if writer and one.new is not None else _started(one, due.time)
    return _Fate(
        sync=one.sync,
        fire=fire,
        missed=missed,
        wanted=_wanted(one, fire),
        moves=True,
        next_time=due.next_time,
        queued=queued or fire.outcome is FireOutcome.QUEUED,
    )


def _started(one: Settlement, due_time: datetime) -> SyncFire:
    outcome, detail = one.otherwise or (FireOutcome.STARTED, "")
    return SyncFire(
        due_time=due_time, outcome=outcome, detail=detail, job_id=one.new.job_id if one.new is not None else ""
    )


def _overlapping(one: Settlement, due_time: datetime, writer: str, queued: bool) -> SyncFire:
    schedule = one.sync.spec.schedule
    outcome, detail = FireOutcome.SKIPPED, f"job {writer} is not final"
    if schedule is not None and schedule.overlap is Overlap.QUEUE_ONE:
        if queued:
            detail = f"{detail}, and a run waits for its end already"
        else:
            outcome, detail = FireOutcome.QUEUED, f"waits for the end of job {writer}"
    return SyncFire(due_time=due_time, outcome=outcome, detail=detail)


def _wanted(one: Settlement, fire: SyncFire) -> Wanted | None:
    if one.new is None or fire.outcome is not FireOutcome.STARTED:
        return None
    return Wanted(new=one.new, by=one.by, reason=f"due {fire.due_time.isoformat()}")


def _numbered(wanted: Wanted, row: Row[Any]) -> Wanted:
    """As `begin_run` does it for one job; the row of its sync is locked."""
    assert wanted.new.task is not None
    task = replace(wanted.new.task, run_number=row.run_number, state_generation=row.generation)
    spec = replace(wanted.new.spec, catalog_id=row.catalog_id)
    return replace(wanted, new=replace(wanted.new, task=task, spec=spec))


def _missed(due: Due, first: datetime) -> SyncFire:
    """One row for all of them."""
    others = f", nor {'more than ' if due.more_missed else ''}{due.missed - 1} after it" if due.missed > 1 else ""
    return SyncFire(due_time=first, outcome=FireOutcome.MISSED, detail=f"no server started it in time{others}")
