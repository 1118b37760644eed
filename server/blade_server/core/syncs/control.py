"""What callers do to a sync: pause, resume, own, delete."""

from __future__ import annotations

from blade_server.core.access.door import owner_of
from blade_server.core.checks import check_reason, raise_for
from blade_server.model.access import Caller
from blade_server.model.sync import Sync
from blade_server.storage.sync.control import SyncControl
from blade_server.storage.sync.syncs import SyncStore


class ControlSyncs:
    """Thread-safe; each call is one short transaction. Raises what the storage raises; Invalid for the reason."""

    def __init__(self, store: SyncStore, control: SyncControl) -> None:
        self._store = store
        self._control = control

    def pause(self, name: str, *, by: Caller, reason: str = "") -> Sync:
        """Stops due times; a run goes on. Idempotent."""
        raise_for(check_reason(reason))
        return self._control.pause(name, by=by, reason=reason)

    def resume(self, name: str, *, by: Caller, reason: str = "") -> Sync:
        """Lets due times start runs again, from the next one on. Idempotent."""
        raise_for(check_reason(reason))
        return self._control.resume(name, by=by, reason=reason)

    def own(self, name: str, *, by: Caller, reason: str = "") -> Sync:
        """Makes the caller the one whose rights due runs have. Idempotent."""
        raise_for(check_reason(reason))
        return self._control.own(name, owner_of(by.principal), by=by, reason=reason)

    def delete(self, name: str, *, etag: str = "", by: Caller, reason: str = "") -> int:
        """Takes the sync away with what it knows; how many items stay in the destination. Precondition SYNC_BUSY."""
        raise_for(check_reason(reason))
        return self._store.remove(name, etag, by=by, reason=reason)
