"""Change a sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from blade_server.core.access.door import owner_of
from blade_server.core.checks import check_reason, raise_for
from blade_server.core.syncs.checked import Checked
from blade_server.core.syncs.sync_jobs import SyncJobs
from blade_server.errors import Conflict, Invalid, Precondition, Reason
from blade_server.model.access import Caller
from blade_server.model.sync import Sync, SyncSpec
from blade_server.storage.sync.syncs import SyncStore

_ATTEMPTS = 3


class UpdateSync:
    """Thread-safe."""

    def __init__(self, store: SyncStore, jobs: SyncJobs, checked: Checked) -> None:
        self._store = store
        self._jobs = jobs
        self._checked = checked

    def __call__(
        self,
        name: str,
        change: Callable[[SyncSpec], SyncSpec],
        *,
        etag: str = "",
        keep_old: bool = False,
        by: Caller,
        reason: str = "",
    ) -> Sync:
        """The sync as stored, atomically; the next run is the first to know. Nothing is written if nothing changes.

        Args:
            name: of the sync.
            change: makes the new spec of the stored one.
            etag: if set, it must be the stored one.
            keep_old: another destination is meant; the items in the old one stay and are forgotten.
            by: the caller, who is the owner from then on.
            reason: why.

        Raises:
            Invalid, NotFound, AccessDenied, Conflict, AlreadyExists.
            Precondition: another destination without `keep_old`, or SYNC_BUSY with it.
        """
        raise_for(check_reason(reason))
        for attempt in range(_ATTEMPTS):
            current = self._jobs.found(name, by=by)
            if etag and etag != current.etag:
                raise Conflict(
                    f"sync {name!r} was changed by somebody else (etag {current.etag}, not {etag}); read it again"
                )
            changed = self._changed(current, change(current.spec), keep_old=keep_old, by=by)
            if changed is None:
                return current
            moved = changed.spec.destination != current.spec.destination
            try:
                return self._store.update(changed, current.etag, by=by, moved=moved, reason=reason)
            except Conflict:
                # Without an etag the caller asked for these fields to change, whatever the others are.
                if etag or attempt + 1 == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _changed(self, current: Sync, spec: SyncSpec, *, keep_old: bool, by: Caller) -> Sync | None:
        if spec == current.spec:
            return None
        if spec.source != current.spec.source:
            raise Invalid.field(
                "sync.spec.source", f"never changes, it is {current.spec.source!r}; create another sync, or clone this"
            )
        self._checked.source(spec, by=by, prefix="sync.spec.", before=current.spec)
        if spec.destination != current.spec.destination and not keep_old:
            raise Precondition(
                f"sync {current.name!r} has {current.state.known_items} items in destination "
                f"{current.spec.destination!r}; say `move` KEEP_OLD to leave them there and forget them, and the next "
                f"run sends all to {spec.destination!r}",
                reason=Reason.SYNC_STATE,
            )
        return replace(current, spec=spec, owner=owner_of(by.principal))
