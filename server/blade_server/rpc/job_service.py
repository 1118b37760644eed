"""blade.v1.JobService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from blade.v1 import job_pb2
from blade.v1 import job_service_pb2 as pb
from blade.v1.job_service_pb2_grpc import JobServiceServicer
from blade_server import model
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.preview import Preview
from blade_server.core.jobs.redaction import redacted
from blade_server.core.jobs.start import StartJob
from blade_server.core.jobs.watch import Feed
from blade_server.errors import Invalid
from blade_server.model.access import Caller, Role
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.fields import instant, optional, seconds
from blade_server.rpc.convert.item import item_message, rejection_message
from blade_server.rpc.convert.job import (
    item_error_message,
    job_message,
    kinds_from,
    limits_from,
    overrides_from,
    start_limits_from,
    statuses_from,
)
from blade_server.rpc.convert.source import id_count_message
from blade_server.rpc.streams import StreamKind, Streams
from blade_server.rpc.threads import Threads

HEARTBEAT = pb.WatchJobResponse(heartbeat=True).SerializeToString()


class JobService(JobServiceServicer):
    """Converts, calls `core.jobs` and `core.jobs.watch`, converts back."""

    def __init__(self, jobs: Jobs, feed: Feed, streams: Streams, threads: Threads) -> None:
        self._jobs = jobs
        self._feed = feed
        self._streams = streams
        self._threads = threads
        self._ending: set[asyncio.Task[model.Job]] = set()
        self._shown = Serialised(pb.GetJobResponse)
        self._snapshots = Serialised(pb.WatchJobResponse)

    async def StartQueryJob(self, request: pb.StartQueryJobRequest, context: Context) -> pb.StartQueryJobResponse:
        start = StartJob(
            sql=request.sql,
            data_type=request.data_type,
            source=request.source,
            batch_size=optional(request, "batch_size"),
            workers=optional(request, "workers"),
            **start_limits_from(request),
            metadata=dict(request.metadata),
            overrides=overrides_from(request),
            skip_existing=request.skip_existing,
            destination=request.destination,
            request_id=request.request_id,
        )
        job = await self._threads.outward(self._jobs.start, start, by=current())
        return pb.StartQueryJobResponse(job=self._message(job))

    async def PreviewItems(self, request: pb.PreviewItemsRequest, context: Context) -> pb.PreviewItemsResponse:
        preview = Preview(
            sql=request.sql,
            data_type=request.data_type,
            source=request.source,
            limit=optional(request, "limit"),
            metadata=dict(request.metadata),
            overrides=overrides_from(request),
        )
        rows, item_ids = await self._threads.outward(self._jobs.preview, preview, by=current())
        return pb.PreviewItemsResponse(
            items=[item_message(item) for item in rows.items],
            rejections=[rejection_message(rejected.error) for rejected in rows.rejected],
            item_ids=id_count_message(item_ids),
        )

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> Any:
        by = current()
        job = await self._jobs.show.get_quickly(request.id, by=by)
        if job is not None:
            self._jobs.show.tell_rows(job, by=by)
            return self._shown.serialised(job, self._jobs.show.may_read(job, by=by))
        job = await self._threads.stored(self._jobs.show.get, request.id, by=by)
        self._jobs.show.tell_rows(job, by=by)
        return await self._threads.stored(lambda: _shown(self._jobs.show.for_caller(job, by=by)))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        jobs, next_page_token = await self._threads.stored(
            self._jobs.show.list,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
            statuses=statuses_from(request.statuses),
            source=request.source,
            created_after=instant(request, "created_after"),
            created_before=instant(request, "created_before"),
            with_errors=request.with_errors,
            kinds=kinds_from(request.kinds),
            sync=request.sync,
        )
        return pb.ListJobsResponse(jobs=[job_message(job) for job in jobs], next_page_token=next_page_token)

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> None:  # type: ignore[override]
        told = False  # once a call

        with self._streams.running(context, StreamKind.WATCHERS) as running:

            def send(job: model.Job, heartbeat: bool) -> Awaitable[None]:
                nonlocal told
                told = told or self._jobs.show.tell_rows(job, by=running.by)
                running.about = job.spec.source, job.spec.data_type
                snapshot = self._snapshots.serialised(job, self._jobs.show.may_read(job, by=running.by))
                # Two messages of a type, one behind the other, are their merge.
                return context.write(snapshot + HEARTBEAT if heartbeat else snapshot)

            await self._feed.watch(
                request.job_id,
                seconds(request, "min_interval"),
                send,
                may_see=lambda job: running.by.may(job.spec.source, job.spec.data_type, Role.VIEWER),
            )

    async def PauseJob(self, request: pb.PauseJobRequest, context: Context) -> pb.PauseJobResponse:
        pause = self._jobs.control.pause
        job = await self._threads.stored(pause, request.job_id, by=current(), reason=request.reason)
        return pb.PauseJobResponse(job=self._message(job))

    async def ResumeJob(self, request: pb.ResumeJobRequest, context: Context) -> pb.ResumeJobResponse:
        resume = self._jobs.control.resume
        job = await self._threads.stored(resume, request.job_id, by=current(), reason=request.reason)
        return pb.ResumeJobResponse(job=self._message(job))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        by = current()
        await self._threads.stored(self._jobs.control.cancel, request.job_id, by=by, reason=request.reason)
        # It goes on when the caller leaves: a job whose server died is ended by it.
        ending = asyncio.create_task(self._cancelled(request.job_id, by))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return pb.CancelJobResponse(job=self._message(await asyncio.shield(ending)))

    async def _cancelled(self, job_id: str, by: Caller) -> model.Job:
        """Waits for the server that runs the job, at most for its lease.

        In no thread, so that many cancels at once hold up no other call.
        """
        looks = self._jobs.control.cancelling(job_id, by=by)
        while (pause_s := await self._threads.stored(next, looks, None)) is not None:
            await asyncio.sleep(pause_s)
        return await self._threads.stored(self._jobs.show.get, job_id, by=by, history=False)

    async def UpdateJobLimits(self, request: pb.UpdateJobLimitsRequest, context: Context) -> pb.UpdateJobLimitsResponse:
        if not request.HasField("limits"):  # else a forgotten field would take every limit away
            raise Invalid.field("limits", "is required; send it empty to lift all limits")
        job = await self._threads.stored(
            self._jobs.control.update_limits,
            request.job_id,
            limits_from(request.limits),
            by=current(),
            reason=request.reason,
        )
        return pb.UpdateJobLimitsResponse(job=self._message(job))

    async def ListItemErrors(self, request: pb.ListItemErrorsRequest, context: Context) -> pb.ListItemErrorsResponse:
        errors, next_page_token = await self._threads.stored(
            self._jobs.show.errors,
            request.job_id,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
        )
        return pb.ListItemErrorsResponse(
            errors=[item_error_message(error) for error in errors], next_page_token=next_page_token
        )

    async def RetryFailedItems(
        self, request: pb.RetryFailedItemsRequest, context: Context
    ) -> pb.RetryFailedItemsResponse:
        job = await self._threads.outward(
            self._jobs.retry_failed,
            request.job_id,
            request_id=request.request_id,
            by=current(),
            reason=request.reason,
        )
        return pb.RetryFailedItemsResponse(job=self._message(job))

    def _message(self, job: model.Job) -> job_pb2.Job:
        """A job that the caller has started or changed, as he may see it."""
        return job_message(self._jobs.show.for_caller(job, by=current()))


def _shown(job: model.Job) -> bytes:
    return pb.GetJobResponse(job=job_message(job)).SerializeToString()


class Serialised:
    """Messages about jobs as bytes: each Job is converted once, however many ask for it or watch it.

    They are handed the same object, so the bytes are kept as long as that object lives.
    """

    def __init__(self, message: Callable[..., Message]) -> None:
        """`message`: makes one with the field `job`."""
        self._message = message
        self._whole: dict[int, bytes] = {}
        self._redacted: dict[int, bytes] = {}

    def serialised(self, job: model.Job, whole: bool) -> bytes:
        """The bytes of a message with this job, `whole` or redacted."""
        made = self._whole if whole else self._redacted
        key = id(job)
        if key not in made:
            made[key] = self._message(job=job_message(job if whole else redacted(job))).SerializeToString()
            weakref.finalize(job, made.pop, key).atexit = False
        return made[key]
