"""Syncs as callers see them: one, a page of them, runs, due times, what a run found."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime

from blade_server.core import paging
from blade_server.core.audit.recorder import Recorder
from blade_server.core.jobs.show import ShowJobs
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.redaction import for_caller, redacted_run
from blade_server.errors import Invalid, check_may
from blade_server.model import Job
from blade_server.model.access import Caller, Role
from blade_server.model.sync import ItemChange, Sync, SyncFire, SyncRun
from blade_server.storage.sync.history import SyncHistory
from blade_server.storage.sync.syncs import SyncStore

DEFAULT_PAGE_SIZE = 100
DEFAULT_RUNS = 50


class ShowSyncs:
    """Thread-safe; each call is one or two short transactions. Raises what the storage raises."""

    def __init__(
        self, store: SyncStore, history: SyncHistory, jobs: ShowJobs, sources: Sources, recorder: Recorder
    ) -> None:
        self._store = store
        self._sources = sources
        self._history = history
        self._jobs = jobs
        self._recorder = recorder

    def get(self, name: str, *, by: Caller) -> Sync:
        """The sync as the caller may see it. Raises NotFound."""
        return self.for_caller(self._found(name, by), by=by)

    def for_caller(self, sync: Sync, *, by: Caller) -> Sync:
        """The sync as the caller may see it, whatever he may do with it."""
        return for_caller(sync, reads=self._read_by([sync], by)[sync.name])

    def job_for_caller(self, job: Job, *, by: Caller) -> Job:
        """A job of a sync as the caller may see it, whatever he may do with the sync."""
        return self._jobs.for_caller(job, by=by)

    def list(
        self,
        *,
        by: Caller,
        page_size: int | None = None,
        page_token: str = "",
        source: str = "",
        destination: str = "",
    ) -> tuple[builtins.list[Sync], str]:
        """A page of syncs in the order of their names, and the token of the next page ("" on the last).

        A page ends early where its SQL comes to paging.MAX_PAGE_TEXT. Raises Invalid.
        """
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"syncs\0{source}\0{destination}{by.bound}"
        after = paging.read_token(page_token, scope=scope)
        found = self._store.page(after, size + 1, source=source, destination=destination, seen=by.sees)
        page = found[: min(size, paging.fitting(sync.spec.sql + sync.spec.filter for sync in found))]
        token = paging.make_token(page[-1].name, scope=scope) if len(found) > len(page) else ""
        reads = self._read_by(page, by)
        return [for_caller(sync, reads=reads[sync.name]) for sync in page], token

    def runs(
        self, name: str, *, by: Caller, page_size: int | None = None, page_token: str = ""
    ) -> tuple[builtins.list[SyncRun], str]:
        """A page of the sync's jobs, newest first, and the token of the next. Raises NotFound, Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_RUNS)
        sync = self._found(name, by)
        scope = f"runs\0{name}{by.bound}"
        before = paging.read_token(page_token, scope=scope)
        if not before.isprintable():
            raise Invalid.field("page_token", "is forged; begin again without a token")
        found = self._history.runs(name, before_job_id=before, limit=size + 1)
        token = paging.make_token(found[size - 1].job_id, scope=scope) if len(found) > size else ""
        reads = self._read_by([sync], by)[name]
        return [run if reads else redacted_run(run) for run in found[:size]], token

    def fires(
        self, name: str, *, by: Caller, page_size: int | None = None, page_token: str = ""
    ) -> tuple[builtins.list[SyncFire], str]:
        """A page of what became of due times, newest first, and the token of the next. Raises NotFound, Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_RUNS)
        self._found(name, by)
        scope = f"fires\0{name}{by.bound}"
        before = paging.read_token(page_token, scope=scope)
        found = self._history.fires(name, before=_time(before), limit=size + 1)
        token = paging.make_token(found[size - 1].due_time.isoformat(), scope=scope) if len(found) > size else ""
        return found[:size], token

    def report(self, name: str, job_id: str, *, by: Caller) -> tuple[Job, Sequence[ItemChange]]:
        """A job of the sync with what it found, and up to 100 items of each kind, as the caller may see them.

        Raises NotFound, AccessDenied.
        """
        sync = self._found(name, by)
        check_may(by, sync.spec.source, sync.data_type, f"sync {name!r}")
        if not job_id:
            raise Invalid.field("job_id", "is required")
        self._history.run(name, job_id)
        job = self.job_for_caller(self._jobs.get(job_id, by=by, history=False), by=by)
        changes = [] if job.redacted else self._history.changes(job_id)
        if changes or (job.error_summaries and not job.redacted):
            self._recorder.read(by, f"job:{job_id}")
        return job, changes

    def _read_by(self, syncs: Sequence[Sync], by: Caller) -> Mapping[str, bool]:
        """Of which of these syncs, by name, the caller may read the source as a whole."""
        sources = self._sources.named({sync.spec.source for sync in syncs})

        def reads(sync: Sync) -> bool:
            source = sources.get(sync.spec.source)
            may = by.may(sync.spec.source, sync.data_type, Role.READER)
            return may and source is not None and self._sources.view(source, by=by).is_whole

        return {sync.name: reads(sync) for sync in syncs}

    def _found(self, name: str, by: Caller) -> Sync:
        if not name:
            raise Invalid.field("name", "is required")
        return self._store.get(name, by.sees)


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as exc:
        raise Invalid.field("page_token", "is forged; begin again without a token") from exc
