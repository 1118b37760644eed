"""Store a new sync."""

from __future__ import annotations

from dataclasses import asdict

from blade_server.core.access.door import owner_of
from blade_server.core.checks import raise_for
from blade_server.core.jobs.checks import check_request_id
from blade_server.core.jobs.ids import fingerprint
from blade_server.core.syncs.checked import Checked
from blade_server.errors import check_may
from blade_server.model.access import Caller
from blade_server.model.sync import Sync, SyncSpec
from blade_server.storage.sync.syncs import SyncStore


class CreateSync:
    """Thread-safe."""

    def __init__(self, store: SyncStore, checked: Checked) -> None:
        self._store = store
        self._checked = checked

    def __call__(
        self, name: str, spec: SyncSpec, *, by: Caller, validate_only: bool = False, request_id: str = ""
    ) -> Sync:
        """The sync as stored; as it would be, for `validate_only`. A repeated call gives what the first one stored.

        Raises:
            Invalid: naming all wrong fields; NotFound, AccessDenied, Precondition: its source, its destination.
            AlreadyExists: the name is taken, or another sync writes the same items.
        """
        raise_for(check_request_id(request_id))
        request_hash = fingerprint({"sync": name, "spec": asdict(spec)})
        stored = self._store.replay(request_id, request_hash, by=by)
        if stored is not None:  # whatever became of the source since
            check_may(by, stored.spec.source, stored.data_type, f"sync {name!r}")
            return stored
        source = self._checked.source(spec, by=by, prefix="sync.spec.", name=name)
        sync = Sync(name=name, spec=spec, data_type=source.data_type, owner=owner_of(by.principal))
        if validate_only:
            self._store.check_free(sync, by=by)
            return sync
        return self._store.add(sync, by=by, request_id=request_id, request_hash=request_hash)
