"""SyncService over a dictionary: orders are kept, and nothing runs. What starts a job is for a test to answer."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from blade.v1 import sync_service_pb2 as pb
from blade.v1.sync_pb2 import Sync, SyncSpec
from blade_client import errors
from blade_client.testing.pages import page_of
from blade_client.testing.replays import Replays
from blade_client.testing.sources import Sources
from blade_client.testing.statuses import invalid


class Syncs:
    """Orders by name, each over a source that there is."""

    def __init__(self, sources: Sources) -> None:
        self.stored: dict[str, Sync] = {}
        self._sources = sources
        self._changes = 0
        self._replays = Replays()

    def CreateSync(self, request: pb.CreateSyncRequest, context: Any) -> pb.CreateSyncResponse:
        stored = self._replays.answer(request.request_id, request)
        if stored is not None:
            return pb.CreateSyncResponse(sync=stored)
        wanted = Sync(name=request.sync.name, spec=request.sync.spec)
        if not wanted.name:
            raise invalid("sync.name", "is required")
        self._sources.named(wanted.spec.source)
        if wanted.name in self.stored:
            raise errors.AlreadyExists(f"a sync named {wanted.name!r} exists", reason="SYNC_EXISTS")
        if request.validate_only:
            return pb.CreateSyncResponse(sync=wanted)
        return pb.CreateSyncResponse(sync=self._replays.remember(request.request_id, request, self._keep(wanted)))

    def GetSync(self, request: pb.GetSyncRequest, context: Any) -> pb.GetSyncResponse:
        return pb.GetSyncResponse(sync=self._named(request.name, ""))

    def ListSyncs(self, request: pb.ListSyncsRequest, context: Any) -> pb.ListSyncsResponse:
        found = [
            sync
            for _, sync in sorted(self.stored.items())
            if request.source in ("", sync.spec.source) and request.destination in ("", sync.spec.destination)
        ]
        syncs, token = page_of(found, request, default=100)
        return pb.ListSyncsResponse(syncs=syncs, next_page_token=token)

    def UpdateSync(self, request: pb.UpdateSyncRequest, context: Any) -> pb.UpdateSyncResponse:
        changed = Sync()
        changed.CopyFrom(self._named(request.sync.name, request.sync.etag))
        paths = [path.split(".")[1:] for path in request.update_mask.paths]
        everything = [[field.name] for field in SyncSpec.DESCRIPTOR.fields]
        given = [[field.name] for field, _ in request.sync.spec.ListFields()]
        for names in [one for path in paths or given for one in ([path] if path else everything)]:
            _put(changed.spec, request.sync.spec, names)
        return pb.UpdateSyncResponse(sync=self._keep(changed))

    def DeleteSync(self, request: pb.DeleteSyncRequest, context: Any) -> pb.DeleteSyncResponse:
        gone = self._named(request.name, request.etag)
        del self.stored[gone.name]
        return pb.DeleteSyncResponse(items_left=gone.known_items)

    def CloneSync(self, request: pb.CloneSyncRequest, context: Any) -> pb.CloneSyncResponse:
        if request.new_name in self.stored:
            raise errors.AlreadyExists(f"a sync named {request.new_name!r} exists", reason="SYNC_EXISTS")
        copy = Sync(name=request.new_name, spec=self._named(request.name, "").spec, paused=True)
        for field, _ in request.spec.ListFields():
            _put(copy.spec, request.spec, [field.name])
        return pb.CloneSyncResponse(sync=self._keep(copy))

    def PauseSync(self, request: pb.PauseSyncRequest, context: Any) -> pb.PauseSyncResponse:
        sync = self._named(request.name, "")
        sync.paused, sync.pause_reason = True, request.reason
        return pb.PauseSyncResponse(sync=sync)

    def ResumeSync(self, request: pb.ResumeSyncRequest, context: Any) -> pb.ResumeSyncResponse:
        sync = self._named(request.name, "")
        sync.paused, sync.pause_reason = False, ""
        return pb.ResumeSyncResponse(sync=sync)

    def OwnSync(self, request: pb.OwnSyncRequest, context: Any) -> pb.OwnSyncResponse:
        sync = self._named(request.name, "")
        sync.owner = "anybody"
        return pb.OwnSyncResponse(sync=sync)

    def ListSyncRuns(self, request: pb.ListSyncRunsRequest, context: Any) -> pb.ListSyncRunsResponse:
        self._named(request.name, "")
        return pb.ListSyncRunsResponse()

    def ListSyncFires(self, request: pb.ListSyncFiresRequest, context: Any) -> pb.ListSyncFiresResponse:
        self._named(request.name, "")
        return pb.ListSyncFiresResponse()

    def _keep(self, sync: Sync) -> Sync:
        kept = Sync()
        kept.CopyFrom(sync)
        kept.owner = "anybody"
        kept.spec.destination = kept.spec.destination or "default"
        kept.update_time.GetCurrentTime()
        if not kept.HasField("create_time"):
            kept.create_time.CopyFrom(kept.update_time)
        self._changes += 1
        kept.etag = f"etag-{self._changes}"
        self.stored[kept.name] = kept
        return kept

    def _named(self, name: str, etag: str) -> Sync:
        if name not in self.stored:
            raise errors.NotFound(f"there is no sync {name!r}", reason="SYNC_NOT_FOUND")
        if etag not in ("", self.stored[name].etag):
            raise errors.Conflict(f"sync {name!r} was changed by somebody else", reason="ETAG_MISMATCH")
        return self.stored[name]


def _put(into: Any, new: Any, names: Iterable[str]) -> None:
    """One field, by its path; what `new` leaves unset becomes unset."""
    name, *inner = names
    field = into.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise invalid("update_mask", f"{name!r} is not a field that can change")
    if inner:
        _put(getattr(into, name), getattr(new, name), inner)
        return
    into.ClearField(name)
    only = type(new)()
    only.CopyFrom(new)
    for other in new.DESCRIPTOR.fields:
        if other.name != name:
            only.ClearField(other.name)
    into.MergeFrom(only)
