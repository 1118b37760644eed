"""Starts the runs of due times, each in its owner's name, or says why not."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from blade_server.core.access.door import Door
from blade_server.core.due.decide import decide
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.sync_jobs import SyncJobs
from blade_server.errors import AccessDenied, BladeError, Invalid, QuotaExceeded, StorageUnavailable, check_may
from blade_server.model import NewJob, Source
from blade_server.model.access import Caller, Principal, Role
from blade_server.model.due import Due, Settlement
from blade_server.model.sync import FireOutcome, Sync, SyncOwner
from blade_server.storage.sync.due import DueStore, Waiting

log = logging.getLogger(__name__)

METHOD = "blade schedule"
"""Stands in the audit log where the method of a call does."""
LONG_TEXT = 500
"""Characters of SQL from which on reading it takes more than a few milliseconds, up to seconds."""
LONG_TEXTS_S = 2.0
"""So long a round goes on with those: all others that are due wait for it."""
_BUG = (FireOutcome.BLOCKED, "it met a bug in BLADE; the server's log has the cause")


class Starts:
    """Thread-safe."""

    def __init__(self, store: DueStore, jobs: SyncJobs, sources: Sources, door: Door) -> None:
        self._store = store
        self._jobs = jobs
        self._sources = sources
        self._door = door

    def settle(self, waiting: Waiting) -> int:
        """Settles due times that have come by now; how many. Others are another server's.

        Those of long SQL only for a while, at least one of them; the rest are left to the next call. Raises
        StorageUnavailable.
        """
        syncs = (*waiting.due, *waiting.queued)
        if not syncs:
            return 0
        at_once = _AtOnce(self._door, self._sources.named({sync.spec.source for sync in syncs}))
        dues = [
            *((sync, decide(sync, waiting.time)) for sync in waiting.due),
            *((sync, None) for sync in waiting.queued),
        ]
        settlements = [self._settlement(sync, due, at_once) for sync, due in dues if not _is_long(sync)]
        until = time.monotonic() + LONG_TEXTS_S
        for sync, due in ((sync, due) for sync, due in dues if _is_long(sync)):
            settlements.append(self._settlement(sync, due, at_once))
            if time.monotonic() >= until:
                break
        try:
            return self._store.settle(settlements)
        except BladeError:
            raise
        except Exception:
            log.exception("%d due times are settled one by one, because of a bug", len(settlements))
            return sum(self._alone(one) for one in settlements)

    def _alone(self, one: Settlement) -> int:
        try:
            return self._store.settle([one])
        except BladeError:
            raise
        except Exception:
            log.exception("sync %s: its due run met a bug", one.sync.name)
            return self._store.settle([Settlement(sync=one.sync, due=one.due, by=one.by, otherwise=_BUG)])

    def _settlement(self, sync: Sync, due: Due | None, at_once: _AtOnce) -> Settlement:
        by = Caller(principal=at_once.owner(sync.owner), needs=Role.OPERATOR, method=METHOD, claims=f"sync {sync.name}")
        if due is not None and due.time is None:
            return Settlement(sync=sync, due=due, by=by)
        try:
            new = self._built(sync, by, at_once.sources.get(sync.spec.source))
            return Settlement(sync=sync, due=due, by=by, new=new)
        except StorageUnavailable:
            raise
        except BladeError as exc:
            return Settlement(sync=sync, due=due, by=by, otherwise=_instead(exc, sync))
        except Exception:
            log.exception("sync %s: its due run met a bug", sync.name)
            return Settlement(sync=sync, due=due, by=by, otherwise=_BUG)

    def _built(self, sync: Sync, by: Caller, source: Source | None) -> NewJob:
        if source is not None:
            check_may(by, source.name, source.data_type, f"source {source.name!r}")
        usable = self._sources.check_usable(sync.spec.source, source, by=by)
        return self._jobs.due(sync, usable, by=by)


def _is_long(sync: Sync) -> bool:
    return len(f"{sync.spec.sql}{sync.spec.filter}") > LONG_TEXT  # they may be no text, of a bug


class _AtOnce:
    """What was looked up for one round."""

    def __init__(self, door: Door, sources: Mapping[str, Source]) -> None:
        self._door = door
        self.sources = sources
        self._owners: dict[SyncOwner, Principal] = {}

    def owner(self, owner: SyncOwner) -> Principal:
        """Whose rights a sync has, as they are now."""
        if owner not in self._owners:
            self._owners[owner] = self._door.owner(owner)
        return self._owners[owner]


def _instead(exc: BladeError, sync: Sync) -> tuple[FireOutcome, str]:
    """What becomes of the due time, in words for all who may see the sync: they need not know of other sources."""
    if isinstance(exc, QuotaExceeded) or exc.transient:
        return FireOutcome.SKIPPED, exc.message
    if isinstance(exc, Invalid):  # its words may quote the SQL
        fields = ", ".join(sorted({violation.field for violation in exc.violations}))
        return FireOutcome.BLOCKED, f"{fields} of the sync is not accepted any more; run it by hand to see why"
    if isinstance(exc, AccessDenied):
        own = sync.spec.source
        said = exc.message
        if own != exc.metadata.get("source") and f"source {own!r}" != exc.metadata.get("object"):
            said = f"{sync.owner.name!r} may not read all of what its SQL reads; run it by hand to see why"
        return FireOutcome.BLOCKED, f"{said}, or somebody who has it and is EDITOR takes the sync over (OwnSync)"
    return FireOutcome.BLOCKED, exc.message
