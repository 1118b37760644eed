"""Jobs of syncs: made of the order, stored. Every verb that starts one goes through here, and so do due times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from blade_server.core import sql
from blade_server.core.checks import check_reason, raise_for
from blade_server.core.jobs.checks import allowed, check_request_id
from blade_server.core.jobs.ids import fingerprint, new_job_id
from blade_server.core.jobs.statement import resolve
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.key_hash import key_hash
from blade_server.core.transform.classifications import highest
from blade_server.errors import AccessDenied, Conflict, check_may
from blade_server.model import Job, JobKind, JobSpec, NewJob, RowQuery, Source
from blade_server.model.access import Caller, Grant, Role
from blade_server.model.policy import JobPolicy
from blade_server.model.sync import Sync, SyncSpec, SyncTask
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.sync.syncs import SyncStore

LEVEL = 3
"""What a server must know to run a job of a sync; see core/jobs/level.py."""
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who asks for a job, why, and how the call is told from another one."""

    by: Caller
    reason: str = ""
    request_id: str = ""


class SyncJobs:
    """Thread-safe. Raises what the storage raises."""

    def __init__(
        self, policy: JobPolicy, sources: Sources, store: SyncStore, new_jobs: NewJobs, wake: Callable[[], None]
    ) -> None:
        """`wake` is called whenever a job is stored."""
        self._policy = policy
        self._sources = sources
        self._store = store
        self._new_jobs = new_jobs
        self._wake = wake

    def start(self, name: str, kind: JobKind, asked: Asked, **told: Any) -> Job:
        """Stores a PENDING job of the sync as it is now; a repeated call gives the job of the first one.

        Args:
            name: of the sync.
            kind: what the job is for.
            asked: the call.
            told: further fields of its SyncTask, which are what the call asks for.

        Raises:
            NotFound, AccessDenied: the sync or its source.
            Precondition: SYNC_BUSY, or the source is switched off.
            Invalid, QuotaExceeded: as the start of a job over a query.
        """
        stored = self.replayed(asked, sync=name, kind=kind, **told)
        if stored is not None:
            return stored
        for attempt in range(_ATTEMPTS):
            new = self.built(self.found(name, by=asked.by), kind, by=asked.by, **told)
            try:
                return self.store(new, asked, sync=name, kind=kind, **told)
            except Conflict:  # somebody changed the sync in between: what it is now counts
                if attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def replayed(self, asked: Asked, **body: Any) -> Job | None:
        """The job that a call with the same body stored before. Raises Invalid: reason or request id."""
        raise_for([*check_reason(asked.reason), *check_request_id(asked.request_id)])
        stored = self._new_jobs.replay(asked.request_id, fingerprint(body), by=asked.by)
        return None if stored is None else allowed(stored, asked.by)

    def found(self, name: str, *, by: Caller) -> Sync:
        """The sync, for somebody who may do what his call does. Raises NotFound, AccessDenied."""
        sync = self._store.get(name, by.sees)
        check_may(by, sync.spec.source, sync.data_type, f"sync {name!r}")
        return sync

    def due(self, sync: Sync, source: Source, *, by: Caller) -> NewJob:
        """The job of a due run, not stored yet. `source`: that of the sync, which he may use.

        Raises Invalid, AccessDenied.
        """
        self.check_whole(source, by=by)
        return self._of(sync, JobKind.SYNC, self.read(sync.spec, by=by, source=source), {})

    def source_of(self, sync: Sync, *, by: Caller) -> Source:
        """The source of a sync. Raises NotFound, AccessDenied, Precondition."""
        return self._sources.find("", sync.spec.source, by=by)

    def check_window(self, sync: Sync, column: str, *, by: Caller) -> None:
        """Raises AccessDenied unless all rows and the column are there for the caller: bounds would tell of them."""
        source, cursor = self.source_of(sync, by=by), sync.spec.cursor
        view = self._sources.view(source, by=by)
        his_own = cursor is None or cursor.column.casefold() != column.casefold()
        masked = {one.casefold() for one in view.masked}
        if view.ceiling or (masked and (his_own or column.casefold() in masked)):
            raise _in_part(source.name, by)

    def check_no_ceiling(self, sync: Sync, *, by: Caller) -> None:
        """Raises AccessDenied if there are rows of the sync that are not there for the caller."""
        source = self._sources.get(sync.spec.source, by=by)
        if self._sources.view(source, by=by).ceiling:
            raise _in_part(source.name, by)

    def check_whole(self, source: Source, *, by: Caller) -> None:
        """Raises AccessDenied if a part of the source's rows or columns is not there for the caller."""
        if not self._sources.view(source, by=by).is_whole:
            raise _in_part(source.name, by)

    def built(self, sync: Sync, kind: JobKind, *, by: Caller, **told: Any) -> NewJob:
        """A job of the sync, not stored yet; its run is numbered when it is. Raises Invalid, NotFound, Precondition."""
        return self._of(sync, kind, self.read(sync.spec, by=by), told)

    def _of(self, sync: Sync, kind: JobKind, read: tuple[Source, str, str], told: Mapping[str, Any]) -> NewJob:
        spec, (source, statement, least) = sync.spec, read
        task = SyncTask(
            sync=sync.name,
            kind=kind,
            run_number=0,
            spec=spec,
            key_hash=key_hash(spec, source, statement),
            etag=sync.etag,
            **told,
        )
        job_spec = JobSpec(
            sql=spec.sql or statement,
            source=source.name,
            data_type=source.data_type,
            batch_size=spec.batch_size,
            workers=spec.workers or self._policy.workers,
            limits=spec.limits,
            metadata=dict(spec.metadata),
            classification=spec.classification,
            item_id=spec.item_id,
            last_modified=spec.last_modified,
            min_classification=least,
            destination=spec.destination,
        )
        return NewJob(job_id=new_job_id(), spec=job_spec, source=source, statement=statement, level=LEVEL, task=task)

    def store(self, new: NewJob, asked: Asked, **body: Any) -> Job:
        """Stores a job that was built for a call with this body. Raises as `start`."""
        new = replace(new, request_id=asked.request_id, request_hash=fingerprint(body))
        job = self._new_jobs.add(new, by=asked.by, reason=asked.reason)
        self._wake()
        return job

    def read(self, spec: SyncSpec, *, by: Caller, source: Source | None = None) -> tuple[Source, str, str]:
        """What the sync reads: its source, the statement with its tables resolved, the least classification of items.

        The caller reads what he may read. What items of the sync's own source are called is not his affair: whoever
        wrote the spec was an EDITOR of it. Of other sources that the SQL reads, items have at least the classification
        that all of their rows have.

        Items must not depend on who starts a run, so all of the other sources has to be there for him.

        Raises:
            Invalid: the SQL or the filter, as `sql` and `filter`.
            NotFound, AccessDenied, Precondition: the source.
        """
        source = source or self._sources.find("", spec.source, by=by)
        if not spec.sql:
            return source, sql.select(source, RowQuery(filter=spec.filter)), ""
        resolved = resolve(self._sources, spec.sql, "", spec.source, by=_as_editor(by, spec.source))
        for name in resolved.views:
            raise _in_part(name, by)
        others = [other.mapping for other in resolved.read if other.name != source.name]
        fixed = (one for mapping in others for one in (mapping.min_classification, mapping.classification.value))
        least = highest(self._policy.direct.source.classifications, *fixed)
        return resolved.source, resolved.statement, least


def _in_part(source: str, by: Caller) -> AccessDenied:
    return AccessDenied(
        f"a part of source {source!r} is not there for {by.principal.name!r}, and this needs all of it: ask somebody "
        "who has the role EDITOR on it",
        metadata={"source": source, "principal": by.principal.name},
    )


def _as_editor(by: Caller, source: str) -> Caller:
    his = by.principal
    grants = (*his.grants, Grant(role=Role.EDITOR, scope=f"source:{source}", principal=his.name))
    return replace(by, principal=replace(his, grants=grants))
