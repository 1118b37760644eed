"""Store a copy of a sync."""

from __future__ import annotations

from collections.abc import Callable

from blade_server.core.access.door import owner_of
from blade_server.core.checks import check_reason, raise_for
from blade_server.core.syncs.checked import Checked
from blade_server.core.syncs.rules import check_name
from blade_server.core.syncs.sync_jobs import SyncJobs
from blade_server.model.access import Caller
from blade_server.model.sync import Sync, SyncSpec
from blade_server.storage.sync.syncs import SyncStore


class CloneSync:
    """Thread-safe."""

    def __init__(self, store: SyncStore, jobs: SyncJobs, checked: Checked) -> None:
        self._store = store
        self._jobs = jobs
        self._checked = checked

    def __call__(
        self, name: str, new_name: str, change: Callable[[SyncSpec], SyncSpec], *, by: Caller, reason: str = ""
    ) -> Sync:
        """The copy as stored: paused, and without what the original knows. `change` says what differs.

        Raises as CreateSync; also NotFound, AccessDenied for the original.
        """
        raise_for([*check_name("new_name", new_name), *check_reason(reason)])
        original = self._jobs.found(name, by=by)
        spec = change(original.spec)
        source = self._checked.source(spec, by=by, prefix="spec.")
        copy = Sync(
            name=new_name,
            spec=spec,
            data_type=source.data_type,
            owner=owner_of(by.principal),
            paused=True,
            pause_reason=f"a copy of {name}; resume it when it is as you want it",
        )
        return self._store.add(copy, by=by, reason=reason, detail=f"a copy of {name}")
