"""JobService over jobs in memory, which move a batch each time they are looked at, or when a test says so."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

from blade.v1 import job_service_pb2 as pb
from blade.v1.cost_pb2 import ListSourceCostsRequest, ListSourceCostsResponse, SourceCost
from blade.v1.job_pb2 import Job, JobEvent, JobLimits, JobSpec
from blade.v1.source_pb2 import Source
from blade_client import errors
from blade_client.testing.checks import check_item_id, check_limits, check_reason, check_start, raise_for, wrong_status
from blade_client.testing.items import Items, Row, counted
from blade_client.testing.job import FakeJob
from blade_client.testing.pages import page_of
from blade_client.testing.replays import Replays
from blade_client.testing.sources import Sources
from blade_client.testing.statuses import invalid

_HEARTBEAT_S = 15.0
_FULL = 2
"""Dots in the full name of a table."""
_TABLE = re.compile(r"\bFROM\s+([\w.`\"-]+)", re.IGNORECASE)
_WHERE = re.compile(r"\bWHERE\b(.*)", re.IGNORECASE | re.DOTALL)


class Jobs:
    """Jobs by id, in the order of their start. `advancing`: they move when they are looked at."""

    def __init__(self, sources: Sources, items: Items, *, advancing: bool) -> None:
        self._advancing = advancing
        self._sources = sources
        self._items = items
        self._jobs: dict[str, FakeJob] = {}
        self._replays = Replays()
        self._changed = threading.Condition(threading.RLock())
        sources.in_use = self._in_use

    # ------------------------------------------------------------------------------------------------- what tests do

    def shown(self, job_id: str) -> Job:
        """The job as it is, without moving it."""
        with self._changed:
            copy = Job()
            copy.CopyFrom(self._found(job_id).shown)
            return copy

    def advance(self, job_id: str, rows: int | None) -> Job:
        """See FakeBlade.advance."""
        with self._changed:
            self._found(job_id).advance(rows)
            return self.shown(job_id)

    def fail(self, job_id: str, reason: str, message: str) -> Job:
        """See FakeBlade.fail_job."""
        with self._changed:
            self._found(job_id).fail(reason, message)
            return self.shown(job_id)

    # ------------------------------------------------------------------------------------------------ what is called

    def StartQueryJob(self, request: pb.StartQueryJobRequest, context: Any) -> pb.StartQueryJobResponse:
        request = _with_flat_limits(request)
        check_start(request)
        stored = self._replays.answer(request.request_id, request)
        if stored is None:
            source, rows = self._resolved(request)
            spec = _spec(request, source)
            try:
                job_id = self._store(spec, self._items.renamed(rows, spec.item_id), _actor(context))
            except errors.Precondition as wrong:  # no error of this call
                job_id = self._store(spec, [], _actor(context))
                self.fail(job_id, wrong.reason, wrong.message)
            stored = self._replays.remember(request.request_id, request, job_id)
        return pb.StartQueryJobResponse(job=self.shown(stored))

    def PreviewItems(self, request: pb.PreviewItemsRequest, context: Any) -> pb.PreviewItemsResponse:
        limit = request.limit if request.HasField("limit") else 10
        if not 1 <= limit <= 1000:
            raise invalid("limit", f"{limit} is not between 1 and 1000")
        raise_for(check_item_id(request.item_id))
        _, rows = self._resolved(request)
        rows = self._items.renamed(rows, request.item_id)
        return pb.PreviewItemsResponse(
            items=[row.item for row in rows[:limit] if row.rejection is None],
            rejections=[row.rejection for row in rows[:limit] if row.rejection is not None],
            item_ids=counted(rows),
        )

    def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        with self._changed:
            job = self._found(request.id, "id")
            answer = pb.GetJobResponse(job=job.shown)
            self._looked_at(job)
        return answer

    def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        with self._changed:
            found = [job for job in reversed(self._jobs.values()) if _listed(job.shown, request)]
            page, token = page_of(found, request, default=50)
            answer = pb.ListJobsResponse(jobs=[job.shown for job in page], next_page_token=token)
            for job in page:
                self._looked_at(job)
        for shown in answer.jobs:
            shown.ClearField("history")
            shown.ClearField("error_summaries")
        return answer

    def ListSourceCosts(self, request: ListSourceCostsRequest, context: Any) -> ListSourceCostsResponse:
        """Of all jobs, whenever they ran."""
        with self._changed:
            costs: dict[str, SourceCost] = {}
            for job in self._jobs.values():
                spec, more = job.shown.spec, job.shown.cost
                if more.statements:
                    one = costs.setdefault(spec.source, SourceCost(source=spec.source, data_type=spec.data_type)).cost
                    one.statements += more.statements
                    one.rows_read += more.rows_read
                    one.bytes_read += more.bytes_read
            page, token = page_of([costs[name] for name in sorted(costs)], request, default=100)
        return ListSourceCostsResponse(costs=page, next_page_token=token, since=request.since)

    def WatchJob(self, request: pb.WatchJobRequest, context: Any) -> Iterator[pb.WatchJobResponse]:
        interval_s = request.min_interval.ToTimedelta().total_seconds() if request.HasField("min_interval") else 1.0
        if not 0.2 <= interval_s <= 60:
            raise invalid("min_interval", f"{interval_s:g} s is not between 0.2 and 60 s")
        job = self._found(request.job_id)
        context.add_callback(self._wake)
        revision = -1
        while context.is_active():
            with self._changed:
                answer = pb.WatchJobResponse(job=job.shown, heartbeat=job.shown.revision == revision)
                final, revision = job.final, job.shown.revision
                self._looked_at(job)
            answer.job.ClearField("history")
            yield answer
            if final:
                return
            self._wait_for_change(job, revision, context)

    def PauseJob(self, request: pb.PauseJobRequest, context: Any) -> pb.PauseJobResponse:
        check_reason(request.reason)
        with self._changed:
            job = self._found(request.job_id)
            if job.shown.status == Job.RUNNING:
                job.note(JobEvent(kind="PAUSE_REQUESTED", actor=_actor(context), reason=request.reason))
                job.become(Job.PAUSED, JobEvent(kind="PAUSED", actor="fake"), "Paused")
            elif job.shown.status != Job.PAUSED:
                raise wrong_status(job.shown, "paused")
            return pb.PauseJobResponse(job=job.shown)

    def ResumeJob(self, request: pb.ResumeJobRequest, context: Any) -> pb.ResumeJobResponse:
        check_reason(request.reason)
        with self._changed:
            job = self._found(request.job_id)
            if job.shown.status == Job.PAUSED:
                event = JobEvent(kind="RESUMED", actor=_actor(context), reason=request.reason)
                job.become(Job.RUNNING, event, "Resuming")
            elif job.shown.status != Job.RUNNING:
                raise wrong_status(job.shown, "resumed")
            return pb.ResumeJobResponse(job=job.shown)

    def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        check_reason(request.reason)
        with self._changed:
            job = self._found(request.job_id)
            if not job.final:
                job.note(JobEvent(kind="CANCEL_REQUESTED", actor=_actor(context), reason=request.reason))
                job.end(Job.CANCELLED)
            elif job.shown.status != Job.CANCELLED:
                raise wrong_status(job.shown, "cancelled")
            return pb.CancelJobResponse(job=job.shown)

    def UpdateJobLimits(self, request: pb.UpdateJobLimitsRequest, context: Any) -> pb.UpdateJobLimitsResponse:
        if not request.HasField("limits"):
            raise invalid("limits", "is required; send it empty to lift all limits")
        check_reason(request.reason)
        check_limits(request.limits)
        with self._changed:
            job = self._found(request.job_id)
            if job.final:
                raise wrong_status(job.shown, "given new limits")
            job.shown.spec.limits.CopyFrom(request.limits)
            job.note(JobEvent(kind="LIMITS_CHANGED", actor=_actor(context), reason=request.reason))
            return pb.UpdateJobLimitsResponse(job=job.shown)

    def ListItemErrors(self, request: pb.ListItemErrorsRequest, context: Any) -> pb.ListItemErrorsResponse:
        with self._changed:
            found, token = page_of(self._found(request.job_id).errors, request, default=100)
            return pb.ListItemErrorsResponse(errors=found, next_page_token=token)

    def RetryFailedItems(self, request: pb.RetryFailedItemsRequest, context: Any) -> pb.RetryFailedItemsResponse:
        check_reason(request.reason)
        stored = self._replays.answer(request.request_id, request)
        if stored is None:
            with self._changed:
                parent = self._found(request.job_id)
                if not (parent.final and parent.to_retry):
                    raise wrong_status(
                        parent.shown, "retried: it has not ended, or no item failed that may come through"
                    )
                job_id = self._store(parent.shown.spec, parent.to_retry, _actor(context), parent=parent)
                parent.note(JobEvent(kind="RETRIED", actor=_actor(context), reason=request.reason))
            stored = self._replays.remember(request.request_id, request, job_id)
        return pb.RetryFailedItemsResponse(job=self.shown(stored))

    # ------------------------------------------------------------------------------------------------------- inside

    def _found(self, job_id: str, name: str = "job_id") -> FakeJob:
        if not job_id:
            raise invalid(name, "is required")
        if job_id not in self._jobs:
            raise errors.NotFound(f"there is no job {job_id!r}", reason="JOB_NOT_FOUND")
        return self._jobs[job_id]

    def _in_use(self, source: str) -> bool:
        return any(job.shown.spec.source == source for job in self._jobs.values() if not job.final)

    def _looked_at(self, job: FakeJob) -> None:
        if self._advancing:
            job.step()

    def _wait_for_change(self, job: FakeJob, revision: int, context: Any) -> None:
        with self._changed:
            self._changed.wait_for(lambda: job.shown.revision > revision or not context.is_active(), _HEARTBEAT_S)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _resolved(self, request: pb.StartQueryJobRequest | pb.PreviewItemsRequest) -> tuple[Source, list[Row]]:
        """The source whose rows the request means, and those of its rows that it selects."""
        sql = request.sql.strip().rstrip(";")
        if sql and not re.match(r"(SELECT|WITH)\b", sql, re.IGNORECASE):
            raise invalid("sql", "is not exactly one SELECT", reason="INVALID_SQL")
        chosen = None
        if request.source or request.data_type:
            chosen = self._sources.find(request.data_type, request.source)
        elif not sql:
            raise invalid("sql", "is required unless `source` or `data_type` is set")
        source = chosen if chosen is not None and not sql else self._read_by(sql, chosen)
        where = _WHERE.search(sql)
        return source, self._items.selected(source, where[1] if where else "", {}, field="sql")

    def _read_by(self, sql: str, chosen: Source | None) -> Source:
        """The source whose table the SQL reads; the chosen one if that is among them, or the table has a full name."""
        table = _TABLE.search(sql)
        name = re.sub(r"[`\"]", "", table[1]).lower() if table else ""
        found = [source for source in self._sources.stored.values() if name in _names(source)]
        if chosen is not None and (chosen in found or name.count(".") == _FULL):
            return chosen
        if not found or chosen is not None:
            raise invalid("sql", f"{name or sql!r} is no table of a source", reason="INVALID_SQL")
        return self._sources.find("", found[0].name)

    def _store(self, spec: JobSpec, rows: list[Row], actor: str, *, parent: FakeJob | None = None) -> str:
        with self._changed:
            shown = Job(
                job_id=f"job-{len(self._jobs) + 1:020d}",
                status=Job.PENDING,
                spec=spec,
                parent_job_id=parent.shown.job_id if parent else "",
                current_operation="Waiting to start",
                wait_reason=Job.QUEUED,
            )
            shown.create_time.GetCurrentTime()
            job = self._jobs[shown.job_id] = FakeJob(shown, rows, self._items, self._wake)
            self._sources.stored[spec.source].stats.last_job_id = shown.job_id
            job.note(JobEvent(kind="CREATED", actor=actor))
            return shown.job_id


def _names(source: Source) -> set[str]:
    config = source.config
    table = config.table.lower()
    return {source.name, source.data_type, table, f"{config.catalog}.{config.schema}.{table}".lower()}


def _actor(context: Any) -> str:
    return str(dict(context.invocation_metadata()).get("blade-actor", "unknown"))


def _spec(request: pb.StartQueryJobRequest, source: Source) -> JobSpec:
    limits = JobLimits(items_per_second=request.items_per_second)
    for name in ("max_errors", "max_error_share"):
        if request.HasField(name):
            setattr(limits, name, getattr(request, name))
    return JobSpec(
        sql=request.sql or f"SELECT * FROM {source.config.table}",  # noqa: S608 - shown, never run
        source=source.name,
        data_type=source.data_type,
        batch_size=request.batch_size or 100,
        workers=request.workers or 8,
        limits=limits,
        metadata=request.metadata,
        classification=request.classification,
        skip_existing=request.skip_existing,
        destination=request.destination or "default",
        item_id=request.item_id,
        last_modified=request.last_modified if request.HasField("last_modified") else None,
    )


def _listed(job: Job, request: pb.ListJobsRequest) -> bool:
    created = job.create_time.ToNanoseconds()
    return (
        (not request.statuses or job.status in request.statuses)
        and request.source in ("", job.spec.source)
        and (job.completed_with_errors or not request.with_errors)
        and (not request.HasField("created_after") or created >= request.created_after.ToNanoseconds())
        and (not request.HasField("created_before") or created < request.created_before.ToNanoseconds())
    )


def _with_flat_limits(request: pb.StartQueryJobRequest) -> pb.StartQueryJobRequest:
    """The request with its `limits` one by one."""
    flat = pb.StartQueryJobRequest()
    flat.CopyFrom(request)
    flat.ClearField("limits")
    for field, value in request.limits.ListFields():
        if request.HasField(field.name) and getattr(request, field.name) != value:
            raise invalid(f"limits.{field.name}", f"is not `{field.name}`; send one of them")
        setattr(flat, field.name, value)
    return flat
