"""Starts the run of a due time in its owner's name, or says why not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from blade_server.core.access.door import Door
from blade_server.core.due.decide import decide
from blade_server.core.syncs.sync_jobs import SyncJobs
from blade_server.errors import AccessDenied, BladeError, Invalid, QuotaExceeded, check_may
from blade_server.model import JobKind, NewJob
from blade_server.model.access import Caller, Role
from blade_server.model.due import Due
from blade_server.model.sync import FireOutcome, Sync
from blade_server.storage.sync.due import DueStore

log = logging.getLogger(__name__)

METHOD = "blade schedule"
"""Stands in the audit log where the method of a call does."""
_Otherwise = tuple[FireOutcome, str]


class Starts:
    """Thread-safe. Every method raises StorageUnavailable."""

    def __init__(self, store: DueStore, jobs: SyncJobs, door: Door) -> None:
        self._store = store
        self._jobs = jobs
        self._door = door

    def settle(self, sync: Sync, now: datetime) -> bool:
        """Settles the due times of a sync that have come by now; False: another server does."""
        due = decide(sync, now)
        return self._started(sync, due, lambda new, by, otherwise: self._settled(sync, due, new, by, otherwise))

    def start_queued(self, sync: Sync) -> bool:
        """Starts the run that waited for the end of another; False: it is not to be, or another server does."""

        def store(new: NewJob | None, by: Caller, otherwise: _Otherwise | None) -> bool:
            return self._store.start_queued(sync, new, by=by, otherwise=otherwise)

        return self._started(sync, None, store)

    def _settled(self, sync: Sync, due: Due, new: NewJob | None, by: Caller, otherwise: _Otherwise | None) -> bool:
        return self._store.settle(sync, due, new, by=by, otherwise=otherwise)

    def _started(
        self, sync: Sync, due: Due | None, store: Callable[[NewJob | None, Caller, _Otherwise | None], bool]
    ) -> bool:
        by = Caller(
            principal=self._door.owner(sync.owner), needs=Role.OPERATOR, method=METHOD, claims=f"sync {sync.name}"
        )
        new: NewJob | None = None
        try:
            if due is None or due.time is not None:
                new = self._built(sync, by)
            return store(new, by, None)
        except BladeError as exc:
            if exc.transient:
                raise
            return store(None, by, _instead(sync, exc))
        except Exception:
            log.exception("sync %s: its due run met a bug", sync.name)
            return store(None, by, (FireOutcome.BLOCKED, "it met a bug in BLADE; the server's log has the cause"))

    def _built(self, sync: Sync, by: Caller) -> NewJob:
        spec = sync.spec
        check_may(by, spec.source, sync.data_type, f"source {spec.source!r}")
        return self._jobs.built(sync, JobKind.SYNC, by=by)


def _instead(sync: Sync, exc: BladeError) -> _Otherwise:
    if isinstance(exc, QuotaExceeded):
        return FireOutcome.SKIPPED, exc.message
    if isinstance(exc, Invalid):  # its words may quote the SQL
        fields = ", ".join(sorted({violation.field for violation in exc.violations}))
        return FireOutcome.BLOCKED, f"{fields} of the sync is not accepted any more; run it by hand to see why"
    if isinstance(exc, AccessDenied):
        return FireOutcome.BLOCKED, (
            f"{exc.message}, or somebody who has it and is EDITOR takes the sync over (OwnSync)"
        )
    return FireOutcome.BLOCKED, exc.message
