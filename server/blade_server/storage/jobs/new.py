"""New jobs: stored once for each request id, within the limit of open jobs, while their source is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from blade_server.errors import NotFound, QuotaExceeded, Reason
from blade_server.model import FINAL, EventKind, Job, NewJob, Status
from blade_server.model.access import Caller, Deed, Kind
from blade_server.model.sync import SyncTask
from blade_server.storage import audit, tables
from blade_server.storage.codec import source_document, spec_document, task_document
from blade_server.storage.database import Database
from blade_server.storage.destinations import hold
from blade_server.storage.jobs.rows import QUEUED, add_event, job_from, not_found, ring, ring_queue, storable
from blade_server.storage.jobs.runs import begin_run, place_of
from blade_server.storage.repeated import stored_before

_job = tables.job

_NEW = insert(_job).values(create_time=func.now(), update_time=func.now())
_LAST_JOBS = text(
    """
    UPDATE source SET last_job_id = new.job_id
    FROM unnest(CAST(:names AS text[]), CAST(:job_ids AS text[])) AS new (name, job_id) WHERE source.name = new.name
    """
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A job of a sync that is to be stored with others. Its run has its number already."""

    new: NewJob
    by: Caller
    reason: str


@dataclass(frozen=True, kw_only=True)
class Held:
    """What jobs name. `destinations`: what tells the catalog of each apart now, or that there is none."""

    sources: frozenset[str]
    destinations: Mapping[str, str | NotFound]

    def catalog_id(self, new: NewJob) -> str:
        """What tells the catalog of a job's destination apart now; "" for the server's own."""
        found = self.destinations[new.spec.destination]
        return "" if isinstance(found, NotFound) else found


class NewJobs:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database, *, max_open: int, max_own: int = 0) -> None:
        """Jobs that are not final: at most `max_open`, and `max_own` of one principal (0: no limit)."""
        self._database = database
        self._max_open = max_open
        self._max_own = max_own

    def add(self, new: NewJob, *, by: Caller, reason: str = "") -> Job:
        """Stores a PENDING job.

        The same `request_id` and `request_hash` again return the job of the first call. Raises Invalid if the request
        id was used with another hash, QuotaExceeded if too many are not final, NotFound if the source is gone
        or the parent is being pruned; for a job of a sync what `begin_run` raises.
        """
        try:
            with self._database.begin() as connection:
                return self.insert(connection, new, by=by, reason=reason)
        except IntegrityError:  # two calls with one request id at the same moment
            stored = self.replay(new.request_id, new.request_hash, by=by)
            if stored is None:
                raise
            return stored

    def insert(self, connection: Connection, new: NewJob, *, by: Caller, reason: str = "") -> Job:
        """As `add`, at the end of a transaction that does more: it holds the lock of the audit log from here on."""
        stored = self._replay(connection, new.request_id, new.request_hash, by)
        if stored is not None:
            return stored
        self._check_source(connection, new.source.name)
        catalog_id = hold(connection, new.spec.destination)
        self._check_room(connection, by)
        if new.parent_job_id:
            self._hold_parent(connection, new.parent_job_id)
        task = begin_run(connection, new.task) if new.task else None
        if task is not None:
            catalog_id = place_of(connection, task, catalog_id)
            new = replace(new, spec=replace(new.spec, catalog_id=catalog_id))
        row = connection.execute(_NEW.values(_columns(new, task, by)).returning(_job)).one()
        add_event(connection, new.job_id, EventKind.CREATED, actor=by.name, reason=reason)
        if new.parent_job_id:
            detail = f"by {new.job_id}"
            add_event(connection, new.parent_job_id, EventKind.RETRIED, actor=by.name, reason=reason, detail=detail)
        of_source = update(tables.source).where(tables.source.c.name == new.source.name)
        connection.execute(of_source.values(last_job_id=new.job_id))
        ring(connection, new.job_id)
        ring_queue(connection)
        audit.write_all(connection, [(by, deed) for deed in _deeds(new, reason)])
        return job_from(row)

    def hold(self, connection: Connection, new_jobs: Sequence[NewJob]) -> Held:
        """Keeps what these jobs name from being removed; before any row of a sync is locked."""
        names = {new.source.name for new in new_jobs}
        held = select(tables.source.c.name).where(tables.source.c.name.in_(names)).order_by(tables.source.c.name)
        sources = frozenset(connection.execute(held.with_for_update(key_share=True)).scalars())
        destinations: dict[str, str | NotFound] = {}
        for name in sorted({new.spec.destination for new in new_jobs}):
            try:
                destinations[name] = hold(connection, name)
            except NotFound as exc:
                destinations[name] = exc
        return Held(sources=sources, destinations=destinations)

    def refused(
        self, connection: Connection, wanted: Sequence[Wanted], held: Held
    ) -> dict[str, NotFound | QuotaExceeded]:
        """Which of these jobs have no source, no destination or no room, by their ids."""
        still_open = select(_job.c.starter).where(_job.c.status.not_in(FINAL)).limit(self._max_open)
        own = Counter(connection.execute(still_open).scalars())
        refused: dict[str, NotFound | QuotaExceeded] = {}
        for one in wanted:
            starter = one.by.principal.name
            destination = held.destinations[one.new.spec.destination]
            if one.new.source.name not in held.sources:
                refused[one.new.job_id] = _no_source(one.new.source.name)
            elif isinstance(destination, NotFound):
                refused[one.new.job_id] = destination
            elif own.total() >= self._max_open:
                refused[one.new.job_id] = self._full()
            elif self._max_own and own[starter] >= self._max_own:
                refused[one.new.job_id] = self._his_own(starter)
            else:
                own[starter] += 1
        return refused

    def insert_all(self, connection: Connection, wanted: Sequence[Wanted]) -> None:
        """Stores jobs that are not `refused`, at the end of a transaction that does more, as `insert`."""
        connection.execute(_NEW, [_columns(one.new, one.new.task, one.by) for one in wanted])
        events = [
            {
                "job_id": one.new.job_id,
                "kind": EventKind.CREATED,
                "actor": storable(one.by.name),
                "reason": storable(one.reason),
            }
            for one in wanted
        ]
        connection.execute(insert(tables.job_event).values(time=func.clock_timestamp()), events)
        last = {one.new.source.name: one.new.job_id for one in wanted}
        connection.execute(_LAST_JOBS, {"names": list(last), "job_ids": list(last.values())})
        ring_queue(connection)
        audit.write_all(connection, [(one.by, deed) for one in wanted for deed in _deeds(one.new, one.reason)])

    def replay(self, request_id: str, request_hash: str, *, by: Caller) -> Job | None:
        """The job that an earlier call with this id and body stored. Raises Invalid as `add`."""
        if not request_id:
            return None
        with self._database.begin() as connection:
            return self._replay(connection, request_id, request_hash, by)

    def _replay(self, connection: Connection, request_id: str, request_hash: str, by: Caller) -> Job | None:
        asked = (request_id, request_hash)
        row = stored_before(connection, select(_job), _job, asked, by=by, what="job")
        return None if row is None else job_from(row)

    def _hold_parent(self, connection: Connection, parent_job_id: str) -> None:
        # Pruning takes the counts of errors first: with the lock, either it waits for this child, or this sees it.
        held = select(_job.c.job_id).where(_job.c.job_id == parent_job_id).with_for_update(read=True)
        count = tables.job_error_count
        kept = select(count.c.job_id).where(count.c.job_id == parent_job_id).limit(1)
        if connection.execute(held).one_or_none() is None or connection.execute(kept).one_or_none() is None:
            raise not_found(parent_job_id)

    def _check_source(self, connection: Connection, source: str) -> None:
        # The lock keeps RemoveSource out until this job is stored.
        held = select(tables.source.c.name).where(tables.source.c.name == source).with_for_update(key_share=True)
        if connection.execute(held).one_or_none() is None:
            raise _no_source(source)

    def _check_room(self, connection: Connection, by: Caller) -> None:
        still_open = select(_job.c.job_id).where(_job.c.status.not_in(FINAL))
        if _are(connection, still_open, self._max_open):
            raise self._full()
        if not self._max_own or by.principal.kind is Kind.OFF:
            return
        if _are(connection, still_open.where(_job.c.starter == by.principal.name), self._max_own):
            raise self._his_own(by.principal.name)

    def _full(self) -> QuotaExceeded:
        return QuotaExceeded(
            f"{self._max_open} jobs are not final, which is the limit (BLADE_MAX_OPEN_JOBS); wait for some to end",
            subject="open jobs",
            retry_after_s=30,
        )

    def _his_own(self, name: str) -> QuotaExceeded:
        return QuotaExceeded(
            f"{name!r} has {self._max_own} jobs that are not final, the limit of one principal "
            "(BLADE_PRINCIPAL_JOBS); wait for some to end",
            subject="open jobs of a principal",
            retry_after_s=30,
        )


def _no_source(name: str) -> NotFound:
    return NotFound(f"source {name!r} was removed meanwhile", reason=Reason.SOURCE_NOT_FOUND)


def _columns(new: NewJob, task: SyncTask | None, by: Caller) -> dict[str, Any]:
    return {
        "job_id": new.job_id,
        "source": new.source.name,
        "data_type": new.source.data_type,
        "source_json": source_document(new.source),
        "spec": spec_document(new.spec),
        "plan": {"statement": new.statement},
        "status": Status.PENDING,
        "current_operation": "Waiting to start",
        "request_id": by.own(new.request_id) or None,
        "request_hash": new.request_hash,
        "parent_job_id": new.parent_job_id,
        "level": new.level,
        **_of_sync(task),
        "starter": by.principal.name,
        "trace": by.traceparent,
        "revision": 1,
        **QUEUED,
    }


def _deeds(new: NewJob, reason: str) -> list[Deed]:
    about = f"job:{new.job_id}"
    if new.task is not None:
        started = Deed(about=f"sync:{new.task.sync}", reason=reason, detail=f"{new.task.kind} as {new.job_id}")
        return [started, Deed(about=about, reason=reason, detail=f"{new.task.kind} of sync {new.task.sync}")]
    return [Deed(about=about, reason=reason, detail=_detail(new))]


def _of_sync(task: SyncTask | None) -> dict[str, Any]:
    if task is None:
        return {}
    return {
        "kind": task.kind,
        "sync": task.sync,
        "task": task_document(task),
        "writes": task.writes,
        "folded": not task.writes,
    }


def _detail(new: NewJob) -> str:
    """What the audit log is told: also what was not there for the starter, of which he and others learn nothing."""
    words = [f"retry of {new.parent_job_id}"] if new.parent_job_id else []
    if new.spec.ceiling:
        words.append(f"rows of {new.source.name} up to {new.spec.ceiling}")
    if new.spec.masked_columns:
        words.append(f"{len(new.spec.masked_columns)} of its columns masked")
    return ", ".join(words)


def _are(connection: Connection, jobs: Select[Any], many: int) -> bool:
    """Whether there are so many of them."""
    count = select(func.count()).select_from(jobs.limit(many).subquery())
    return bool(connection.execute(count).scalar_one() >= many)
