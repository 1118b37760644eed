"""Syncs in memory for the page to show: a test says how each stands."""

from __future__ import annotations

from typing import Any

from blade.v1 import job_pb2, sync_pb2, sync_report_pb2, sync_service_pb2, sync_service_pb2_grpc
from blade_server.errors import Invalid, NotFound, Precondition
from blade_server.model.error_reason import Reason

Job = job_pb2.Job
Report = sync_report_pb2.SyncReport
Counts = sync_report_pb2.SyncCounts


class MemorySyncs(sync_service_pb2_grpc.SyncServiceServicer):
    """Belongs to a MemoryBlade, whose jobs the runs are."""

    def __init__(self, blade: Any) -> None:
        self.blade = blade
        self.syncs: dict[str, sync_pb2.Sync] = {}
        self.fires: dict[str, list[sync_pb2.SyncFire]] = {}
        self.changes: dict[str, list[sync_pb2.ItemChange]] = {}
        self.stale = ""

    # What tests say.

    def add(self, name: str, *, source: str = "blade-maintenance", **fields: Any) -> sync_pb2.Sync:
        sync = sync_pb2.Sync(name=name, etag="e1", owner="sam", **fields)
        sync.spec.source = source
        sync.spec.mode = sync.spec.mode or Report.CHANGED
        sync.spec.deletes = sync.spec.deletes or sync_pb2.SyncSpec.KEEP
        sync.spec.destination = sync.spec.destination or "default"
        sync.create_time.GetCurrentTime()
        sync.update_time.GetCurrentTime()
        self.syncs[name] = sync
        return sync

    def add_job(self, sync: sync_pb2.Sync, kind: Any = Job.SYNC, status: Any = Job.COMPLETED, *, report: Any = None,
                **fields: Any) -> job_pb2.Job:  # fmt: skip
        job: job_pb2.Job = self.blade.add_job(status, sync.spec.source, kind=kind, sync=sync.name, **fields)
        if report is not None:
            job.sync_report.CopyFrom(report)
        if kind not in (Job.PLAN, Job.VERIFY):
            if job.HasField("end_time"):
                sync.last_run.CopyFrom(self._run(job))
                sync.last_success_time.GetCurrentTime()
            else:
                sync.running_job_id = job.job_id
        return job

    def _run(self, job: job_pb2.Job) -> sync_pb2.SyncRun:
        run = sync_pb2.SyncRun(number=1, job_id=job.job_id, kind=job.kind, status=job.status)
        run.start_time.CopyFrom(job.start_time)
        if job.HasField("end_time"):
            run.end_time.CopyFrom(job.end_time)
        if job.HasField("sync_report"):
            run.report.CopyFrom(job.sync_report)
        return run

    # What the page asks.

    async def ListSyncs(self, request: Any, context: Any) -> Any:
        self._called("ListSyncs", request)
        return sync_service_pb2.ListSyncsResponse(syncs=[self.syncs[name] for name in sorted(self.syncs)])

    async def GetSync(self, request: Any, context: Any) -> Any:
        return sync_service_pb2.GetSyncResponse(sync=self._sync("GetSync", request))

    async def ListSyncRuns(self, request: Any, context: Any) -> Any:
        sync = self._sync("ListSyncRuns", request)
        jobs = [job for job in reversed(self.blade.jobs.values()) if job.sync == sync.name]
        return sync_service_pb2.ListSyncRunsResponse(runs=map(self._run, jobs))

    async def ListSyncFires(self, request: Any, context: Any) -> Any:
        self._sync("ListSyncFires", request)
        return sync_service_pb2.ListSyncFiresResponse(fires=self.fires.get(request.name, []))

    async def GetSyncReport(self, request: Any, context: Any) -> Any:
        self._sync("GetSyncReport", request)
        job = self.blade.jobs[request.job_id]
        return sync_service_pb2.GetSyncReportResponse(job=job, changes=self.changes.get(request.job_id, []))

    async def GetSyncItem(self, request: Any, context: Any) -> Any:
        self._sync("GetSyncItem", request)
        if request.item_id != "MAINT-1":
            message = f"sync {request.name!r} knows of no item {request.item_id!r}"
            raise NotFound(message, reason=Reason.ITEM_NOT_FOUND)
        item = sync_pb2.SyncItem(item_id="MAINT-1", state=sync_pb2.SyncItem.DIRTY, run_number=7, job_id="job-7")
        return sync_service_pb2.GetSyncItemResponse(item=item)

    async def RunSync(self, request: Any, context: Any) -> Any:
        sync = self._sync("RunSync", request)
        return sync_service_pb2.RunSyncResponse(job=self.add_job(sync, Job.SYNC, Job.PENDING, age_s=0))

    async def PauseSync(self, request: Any, context: Any) -> Any:
        sync = self._sync("PauseSync", request)
        sync.paused, sync.pause_reason = True, request.reason
        return sync_service_pb2.PauseSyncResponse(sync=sync)

    async def ResumeSync(self, request: Any, context: Any) -> Any:
        sync = self._sync("ResumeSync", request)
        sync.paused = False
        return sync_service_pb2.ResumeSyncResponse(sync=sync)

    async def PlanSync(self, request: Any, context: Any) -> Any:
        sync = self._sync("PlanSync", request)
        return sync_service_pb2.PlanSyncResponse(job=self.add_job(sync, Job.PLAN, Job.RUNNING, age_s=0))

    async def VerifySync(self, request: Any, context: Any) -> Any:
        sync = self._sync("VerifySync", request)
        return sync_service_pb2.VerifySyncResponse(job=self.add_job(sync, Job.VERIFY, Job.RUNNING, age_s=0))

    async def ApplyPlan(self, request: Any, context: Any) -> Any:
        sync = self._sync("ApplyPlan", request)
        if self.stale:
            raise Precondition(self.stale, reason=Reason.PLAN_STALE)
        return sync_service_pb2.ApplyPlanResponse(job=self.add_job(sync, Job.APPLY, Job.PENDING, age_s=0))

    async def AcceptDeletes(self, request: Any, context: Any) -> Any:
        sync = self._sync("AcceptDeletes", request)
        return sync_service_pb2.AcceptDeletesResponse(job=self.add_job(sync, Job.DELETE, Job.PENDING, age_s=0))

    async def CreateSync(self, request: Any, context: Any) -> Any:
        self._called("CreateSync", request)
        spec = request.sync.spec
        if spec.HasField("cursor") and not spec.cursor.column:
            raise Invalid.field("sync.spec.cursor.column", "is required")
        sync = self.add(request.sync.name, source=spec.source)
        sync.spec.MergeFrom(spec)
        return sync_service_pb2.CreateSyncResponse(sync=sync)

    async def UpdateSync(self, request: Any, context: Any) -> Any:
        self._called("UpdateSync", request)
        sync = self.syncs[request.sync.name]
        request.update_mask.MergeMessage(request.sync, sync, replace_message_field=True)
        return sync_service_pb2.UpdateSyncResponse(sync=sync)

    def _sync(self, method: str, request: Any) -> sync_pb2.Sync:
        self._called(method, request)
        if request.name not in self.syncs:
            raise NotFound(f"no sync has the name {request.name!r}", reason=Reason.SYNC_NOT_FOUND)
        return self.syncs[request.name]

    def _called(self, method: str, request: Any) -> None:
        self.blade.calls.append((method, request))
