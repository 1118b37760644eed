"""blade.v1.SyncService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from blade.v1 import sync_pb2
from blade.v1 import sync_service_pb2 as pb
from blade.v1.sync_service_pb2_grpc import SyncServiceServicer
from blade_server.core.syncs.sync_jobs import Asked
from blade_server.core.syncs.syncs import Syncs
from blade_server.errors import Invalid
from blade_server.model import Job
from blade_server.model.sync import Sync, SyncSpec
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.fields import optional
from blade_server.rpc.convert.job import job_message
from blade_server.rpc.convert.masks import merge, set_fields
from blade_server.rpc.convert.sync import (
    change_message,
    fire_message,
    item_message,
    run_message,
    spec_from,
    spec_message,
    sync_message,
)
from blade_server.rpc.threads import Threads

_SPEC = "spec"


class SyncService(SyncServiceServicer):
    """Converts, calls `core.syncs`, converts back."""

    def __init__(self, syncs: Syncs, threads: Threads) -> None:
        self._syncs = syncs
        self._threads = threads

    async def CreateSync(self, request: pb.CreateSyncRequest, context: Context) -> pb.CreateSyncResponse:
        sync = await self._threads.outward(
            self._syncs.create,
            request.sync.name,
            spec_from(request.sync.spec),
            by=current(),
            validate_only=request.validate_only,
            request_id=request.request_id,
        )
        return pb.CreateSyncResponse(sync=await self._message(sync))

    async def GetSync(self, request: pb.GetSyncRequest, context: Context) -> pb.GetSyncResponse:
        sync = await self._threads.stored(self._syncs.show.get, request.name, by=current())
        return pb.GetSyncResponse(sync=sync_message(sync))

    async def ListSyncs(self, request: pb.ListSyncsRequest, context: Context) -> pb.ListSyncsResponse:
        syncs, next_page_token = await self._threads.stored(
            self._syncs.show.list,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
            source=request.source,
            destination=request.destination,
        )
        return pb.ListSyncsResponse(syncs=[sync_message(sync) for sync in syncs], next_page_token=next_page_token)

    async def UpdateSync(self, request: pb.UpdateSyncRequest, context: Context) -> pb.UpdateSyncResponse:
        paths = _paths(request.update_mask.paths)
        sync = await self._threads.outward(
            self._syncs.update,
            request.sync.name,
            _change(request.sync.spec, paths),
            etag=request.sync.etag,
            keep_old=request.move == pb.UpdateSyncRequest.KEEP_OLD,
            by=current(),
            reason=request.reason,
        )
        return pb.UpdateSyncResponse(sync=await self._message(sync))

    async def DeleteSync(self, request: pb.DeleteSyncRequest, context: Context) -> pb.DeleteSyncResponse:
        left = await self._threads.stored(
            self._syncs.control.delete, request.name, etag=request.etag, by=current(), reason=request.reason
        )
        return pb.DeleteSyncResponse(items_left=left)

    async def RunSync(self, request: pb.RunSyncRequest, context: Context) -> pb.RunSyncResponse:
        job = await self._started(self._syncs.run, request.name, request, whole=request.whole)
        return pb.RunSyncResponse(job=job_message(job))

    async def PauseSync(self, request: pb.PauseSyncRequest, context: Context) -> pb.PauseSyncResponse:
        return pb.PauseSyncResponse(sync=await self._controlled(self._syncs.control.pause, request))

    async def ResumeSync(self, request: pb.ResumeSyncRequest, context: Context) -> pb.ResumeSyncResponse:
        return pb.ResumeSyncResponse(sync=await self._controlled(self._syncs.control.resume, request))

    async def OwnSync(self, request: pb.OwnSyncRequest, context: Context) -> pb.OwnSyncResponse:
        return pb.OwnSyncResponse(sync=await self._controlled(self._syncs.control.own, request))

    async def PlanSync(self, request: pb.PlanSyncRequest, context: Context) -> pb.PlanSyncResponse:
        job = await self._started(self._syncs.plan, request.name, request, whole=request.whole)
        return pb.PlanSyncResponse(job=job_message(job))

    async def ApplyPlan(self, request: pb.ApplyPlanRequest, context: Context) -> pb.ApplyPlanResponse:
        job = await self._started(self._syncs.apply, request.name, request, job_id=request.job_id)
        return pb.ApplyPlanResponse(job=job_message(job))

    async def VerifySync(self, request: pb.VerifySyncRequest, context: Context) -> pb.VerifySyncResponse:
        job = await self._started(self._syncs.verify, request.name, request, repair=request.repair)
        return pb.VerifySyncResponse(job=job_message(job))

    async def BackfillSync(self, request: pb.BackfillSyncRequest, context: Context) -> pb.BackfillSyncResponse:
        window = {"from_value": getattr(request, "from"), "to_value": request.to}
        job = await self._started(self._syncs.backfill, request.name, request, column=request.column, **window)
        return pb.BackfillSyncResponse(job=job_message(job))

    async def AcceptDeletes(self, request: pb.AcceptDeletesRequest, context: Context) -> pb.AcceptDeletesResponse:
        accept = self._syncs.accept_deletes
        job = await self._started(accept, request.name, request, job_id=request.job_id, force_empty=request.force_empty)
        return pb.AcceptDeletesResponse(job=job_message(job))

    async def ResetSyncState(self, request: pb.ResetSyncStateRequest, context: Context) -> pb.ResetSyncStateResponse:
        sync, forgotten = await self._threads.stored(
            self._syncs.reset, request.name, list(request.item_ids), by=current(), reason=request.reason
        )
        return pb.ResetSyncStateResponse(sync=await self._message(sync), items_forgotten=forgotten)

    async def ListSyncRuns(self, request: pb.ListSyncRunsRequest, context: Context) -> pb.ListSyncRunsResponse:
        runs, next_page_token = await self._threads.stored(
            self._syncs.show.runs,
            request.name,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
        )
        return pb.ListSyncRunsResponse(runs=[run_message(run) for run in runs], next_page_token=next_page_token)

    async def ListSyncFires(self, request: pb.ListSyncFiresRequest, context: Context) -> pb.ListSyncFiresResponse:
        fires, next_page_token = await self._threads.stored(
            self._syncs.show.fires,
            request.name,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
        )
        return pb.ListSyncFiresResponse(fires=[fire_message(fire) for fire in fires], next_page_token=next_page_token)

    async def GetSyncReport(self, request: pb.GetSyncReportRequest, context: Context) -> pb.GetSyncReportResponse:
        job, changes = await self._threads.stored(self._syncs.show.report, request.name, request.job_id, by=current())
        return pb.GetSyncReportResponse(job=job_message(job), changes=[change_message(change) for change in changes])

    async def GetSyncItem(self, request: pb.GetSyncItemRequest, context: Context) -> pb.GetSyncItemResponse:
        item = await self._threads.stored(self._syncs.item, request.name, request.item_id, by=current())
        return pb.GetSyncItemResponse(item=item_message(item))

    async def CloneSync(self, request: pb.CloneSyncRequest, context: Context) -> pb.CloneSyncResponse:
        sync = await self._threads.outward(
            self._syncs.clone,
            request.name,
            request.new_name,
            _change(request.spec, set_fields(request.spec)),
            by=current(),
            reason=request.reason,
        )
        return pb.CloneSyncResponse(sync=await self._message(sync))

    async def _started(self, start: Callable[..., Job], name: str, request: Any, **told: Any) -> Job:
        asked = Asked(by=current(), reason=getattr(request, "reason", ""), request_id=request.request_id)
        if not name:
            raise Invalid.field("name", "is required")
        job = await self._threads.outward(start, name, asked=asked, **told)
        return self._syncs.show.job_for_caller(job, by=asked.by)

    async def _controlled(self, control: Callable[..., Sync], request: Any) -> sync_pb2.Sync:
        return await self._message(
            await self._threads.stored(control, request.name, by=current(), reason=request.reason)
        )

    async def _message(self, sync: Sync) -> sync_pb2.Sync:
        """A sync that the caller has made or changed, as he may see it."""
        return sync_message(await self._threads.stored(self._syncs.show.for_caller, sync, by=current()))


def _paths(mask: Iterable[str]) -> list[str] | None:
    """The fields of the spec that a mask names; None: those that are set. Raises Invalid for others."""
    paths = []
    for path in mask:
        first, _, rest = path.partition(".")
        if first != _SPEC:
            raise Invalid.field("update_mask", f"{path!r} is not a field that can change; `spec` is, and what is in it")
        paths += [rest] if rest else list(sync_pb2.SyncSpec.DESCRIPTOR.fields_by_name)
    return paths or None


def _change(new: sync_pb2.SyncSpec, paths: list[str] | None) -> Callable[[SyncSpec], SyncSpec]:
    """Puts the fields of `new` at these paths (None: those that are set) into a spec."""

    def change(spec: SyncSpec) -> SyncSpec:
        message = spec_message(spec)
        merge(message, new, set_fields(new) if paths is None else paths, field="update_mask")
        return spec_from(message)

    return change
