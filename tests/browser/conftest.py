"""A browser, and a small world of sources and jobs behind the real HTTP side.

The world is a gRPC server that keeps everything in memory and moves only when a test says so, so that a test can show
the page any state it likes, hundreds of jobs among them. What is under test is the page, the transcoder and the guard.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from tests.support.loops import LoopThread

from blade.v1 import (
    config_service_pb2,
    config_service_pb2_grpc,
    error_reason_pb2,
    item_pb2,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    source_pb2,
)
from blade_server.model.policy import ListenPolicy
from blade_server.web.app import Web

Job = job_pb2.Job
_FINAL = {Job.COMPLETED, Job.FAILED, Job.CANCELLED}
_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_MISSING = [
    *([] if _BROWSER else ["a Chromium (Debian: apt-get install chromium)"]),
    *(
        f"the package {package} (pip install {package}; no browser download)"
        for package in ("playwright", "axe-playwright-python")
        if importlib.util.find_spec(package.replace("-", "_")) is None
    ),
]


_MESSAGE = f"the job page was not tested in a browser: it needs {' and '.join(_MISSING)}"


def pytest_configure() -> None:
    """Leaves these tests out where there is no browser; never where one is required."""
    if _MISSING and os.environ.get("BLADE_REQUIRE_BROWSER"):
        raise pytest.UsageError(f"BLADE_REQUIRE_BROWSER is set, and {_MESSAGE}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _MISSING:
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason=_MESSAGE))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = [report for report in terminalreporter.getreports("skipped") if _MESSAGE in str(report.longrepr)]
    if left_out:
        terminalreporter.section("left out", sep="-", yellow=True)
        terminalreporter.line(f"{len(left_out)} tests: {_MESSAGE}")


class MemoryBlade(
    config_service_pb2_grpc.ConfigServiceServicer,
    job_service_pb2_grpc.JobServiceServicer,
):
    """Sources and jobs in memory; every change goes through `change`, which rings for the watchers."""

    def __init__(self) -> None:
        self.sources: dict[str, source_pb2.Source] = {}
        self.jobs: dict[str, job_pb2.Job] = {}
        self.errors: dict[str, list[job_pb2.ItemError]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.failing: set[str] = set()
        self._rings: dict[str, asyncio.Event] = {}

    # What tests say.

    def add_source(self, name: str, data_type: str, **fields: Any) -> source_pb2.Source:
        config = source_pb2.SourceConfig(catalog="main", schema="blade", table=f"blade_{data_type}_data")
        source = source_pb2.Source(
            name=name, data_type=data_type, config=config, **{"enabled": True, "display_name": name, **fields}
        )
        self.sources[name] = source
        return source

    def add_job(self, status: Any, source: str = "blade-maintenance", *, total: int | None = 1000, done: int = 0,
                errors: int = 0, age_s: float = 60.0, **fields: Any) -> job_pb2.Job:  # fmt: skip
        number = len(self.jobs) + 1
        created = datetime.now(UTC) - timedelta(seconds=age_s)
        job = Job(
            job_id=f"job-{number:020d}",
            status=status,
            processed_items=done,
            success_count=done - errors,
            error_count=errors,
            revision=1,
            **fields,
        )
        if total is not None:
            job.total_items = total
        job.create_time.FromDatetime(created)
        if status != Job.PENDING:
            job.start_time.FromDatetime(created + timedelta(seconds=1))
        job.update_time.GetCurrentTime()
        if status in _FINAL:
            job.end_time.GetCurrentTime()
        job.completed_with_errors = status == Job.COMPLETED and errors > 0
        known = self.sources.get(source)
        job.spec.MergeFrom(
            job_pb2.JobSpec(
                sql=f"SELECT * FROM {known.data_type if known else source} WHERE priority = 'HIGH'",
                source=source,
                data_type=known.data_type if known else source,
                batch_size=100,
                workers=8,
            )
        )
        self._note(job, job_pb2.JobEvent.CREATED, "sam", "", created)
        if status != Job.PENDING:
            self._note(job, job_pb2.JobEvent.CLAIMED, "server-1", "", created + timedelta(seconds=1))
        self.jobs[job.job_id] = job
        return job

    def add_errors(self, job: job_pb2.Job, count: int, reason: Any, field: str, message: str) -> None:
        found = self.errors.setdefault(job.job_id, [])
        for index in range(count):
            error = job_pb2.ItemError(
                item_id=f"MAINT-{len(found) + 1:04d}", stage=1, reason=reason, field=field, message=message, attempts=1,
                row_json=json.dumps({"tail_number": f"AF-{index:03d}", field: None, "note": "<b>not bold</b>"}),
            )  # fmt: skip
            error.create_time.GetCurrentTime()
            found.append(error)
        summary = job.error_summaries.add(reason=reason, count=count)
        summary.samples.extend(found[-count:][:5])

    def change(self, job: job_pb2.Job, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(job, name, value)
        job.processed_items = job.success_count + job.error_count + job.skipped_count
        job.completed_with_errors = job.status == Job.COMPLETED and job.error_count > 0
        job.revision += 1
        job.update_time.GetCurrentTime()
        if job.status in _FINAL and not job.HasField("end_time"):
            job.end_time.GetCurrentTime()
        self._rings.pop(job.job_id, asyncio.Event()).set()

    def _note(self, job: job_pb2.Job, kind: Any, actor: str, reason: str, at: datetime | None = None) -> None:
        event = job.history.add(kind=kind, actor=actor, reason=reason)
        event.time.FromDatetime(at or datetime.now(UTC))

    # What the page asks.

    async def ListSources(self, request: Any, context: Any) -> Any:
        await self._called("ListSources", request, context)
        sources = [self.sources[name] for name in sorted(self.sources)]
        return config_service_pb2.ListSourcesResponse(sources=sources)

    async def TestSource(self, request: Any, context: Any) -> Any:
        await self._called("TestSource", request, context)
        broken = request.name in self.failing
        steps = [
            source_pb2.TestStep(
                kind=kind,
                outcome=(1 if kind < 5 else 2 if kind == 5 else 3) if broken else 1,
                message="table main.blade.nothing is not there; check config.table" if broken and kind == 5 else "",
                duration_ms=3.5 * kind,
            )
            for kind in range(1, 8)
        ]
        return config_service_pb2.TestSourceResponse(passed=not broken, steps=steps)

    async def ListJobs(self, request: Any, context: Any) -> Any:
        await self._called("ListJobs", request, context)
        jobs = [
            job
            for job in reversed(self.jobs.values())
            if (not request.statuses or job.status in request.statuses) and request.source in ("", job.spec.source)
            if job.completed_with_errors or not request.with_errors
        ]
        begin, size = int(request.page_token or 0), request.page_size or 50
        answer = job_service_pb2.ListJobsResponse()
        for job in jobs[begin : begin + size]:
            shown = answer.jobs.add()
            shown.CopyFrom(job)
            shown.ClearField("history")
            shown.ClearField("error_summaries")
        answer.next_page_token = str(begin + size) if begin + size < len(jobs) else ""
        return answer

    async def GetJob(self, request: Any, context: Any) -> Any:
        await self._called("GetJob", request, context)
        return job_service_pb2.GetJobResponse(job=await self._job(request.id, context))

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._called("WatchJob", request, context)
        job = await self._job(request.job_id, context)
        while True:
            ring = self._rings.setdefault(job.job_id, asyncio.Event())
            yield job_service_pb2.WatchJobResponse(job=job)
            if job.status in _FINAL:
                return
            await ring.wait()

    async def ListItemErrors(self, request: Any, context: Any) -> Any:
        await self._called("ListItemErrors", request, context)
        found = self.errors.get(request.job_id, [])
        begin, size = int(request.page_token or 0), request.page_size or 100
        token = str(begin + size) if begin + size < len(found) else ""
        return job_service_pb2.ListItemErrorsResponse(errors=found[begin : begin + size], next_page_token=token)

    async def PauseJob(self, request: Any, context: Any) -> Any:
        job = await self._acted("PauseJob", request, context, {Job.RUNNING, Job.PAUSED}, job_pb2.JobEvent.PAUSED)
        self.change(job, status=Job.PAUSED, items_per_second=0.0)
        return job_service_pb2.PauseJobResponse(job=job)

    async def ResumeJob(self, request: Any, context: Any) -> Any:
        job = await self._acted("ResumeJob", request, context, {Job.RUNNING, Job.PAUSED}, job_pb2.JobEvent.RESUMED)
        self.change(job, status=Job.RUNNING)
        return job_service_pb2.ResumeJobResponse(job=job)

    async def CancelJob(self, request: Any, context: Any) -> Any:
        open_ = {Job.PENDING, Job.RUNNING, Job.PAUSED, Job.CANCELLED}
        job = await self._acted("CancelJob", request, context, open_, job_pb2.JobEvent.CANCELLED)
        self.change(job, status=Job.CANCELLED, items_per_second=0.0)
        return job_service_pb2.CancelJobResponse(job=job)

    async def RetryFailedItems(self, request: Any, context: Any) -> Any:
        job = await self._acted("RetryFailedItems", request, context, _FINAL, job_pb2.JobEvent.RETRIED)
        child = self.add_job(Job.PENDING, job.spec.source, total=job.error_count, age_s=0, parent_job_id=job.job_id)
        return job_service_pb2.RetryFailedItemsResponse(job=child)

    async def StartQueryJob(self, request: Any, context: Any) -> Any:
        await self._called("StartQueryJob", request, context)
        if "DROP" in request.sql:
            await _refuse(
                context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SQL", "sql: DROP is not a SELECT; send one SELECT"
            )
        job = self.add_job(Job.PENDING, request.source or "blade-maintenance", total=None, age_s=0)
        job.spec.sql = request.sql
        return job_service_pb2.StartQueryJobResponse(job=job)

    async def PreviewItems(self, request: Any, context: Any) -> Any:
        await self._called("PreviewItems", request, context)
        if "DROP" in request.sql:
            await _refuse(
                context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SQL", "sql: DROP is not a SELECT; send one SELECT"
            )
        answer = job_service_pb2.PreviewItemsResponse()
        for index in range(request.limit - 1):
            item = answer.items.add(
                item_id=f"MAINT-AF-{index:03d}-2024", data_type="maintenance", classification="UNCLASS"
            )
            item.data.update(
                {"tail_number": f"AF-{index:03d}", "maint_type": "scheduled", "note": "<script>alert(1)</script>"}
            )
            item.last_modified.FromJsonString("2024-01-10T10:00:00Z")
            item.metadata["source"] = "blade-maintenance"
        answer.rejections.append(
            item_pb2.ItemRejection(
                item_id="MAINT-AF-999",
                reason=error_reason_pb2.ERROR_REASON_MISSING_CLASSIFICATION,
                field="classification",
                message="classification is null in this row; set one or fix the row",
                row_json='{"tail_number": "AF-999"}',
            )
        )
        return answer

    async def _called(self, name: str, request: Any, context: Any) -> None:
        self.calls.append((name, request))
        if name in self.failing:
            await _refuse(
                context, grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE", "PostgreSQL does not answer; try again"
            )

    async def _job(self, job_id: str, context: Any) -> job_pb2.Job:
        if job_id not in self.jobs:
            await _refuse(context, grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", f"no job has the id {job_id!r}")
        return self.jobs[job_id]

    async def _acted(self, name: str, request: Any, context: Any, allowed: set[int], kind: Any) -> job_pb2.Job:
        await self._called(name, request, context)
        job = await self._job(request.job_id, context)
        if job.status not in allowed:
            message = f"{job.job_id} is {Job.Status.Name(job.status)}; that is not possible now"
            await _refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "JOB_STATUS", message)
        actor = dict(context.invocation_metadata()).get("blade-actor", "")
        self._note(job, kind, actor, request.reason)
        return job


async def _refuse(context: Any, code: grpc.StatusCode, reason: str, message: str) -> None:
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="blade"))
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        field, _, description = message.partition(": ")
        bad_request = error_details_pb2.BadRequest()
        bad_request.field_violations.add(field=field, description=description)
        status.details.add().Pack(bad_request)
    await context.abort(code, message, (("grpc-status-details-bin", status.SerializeToString()),))


class Stage:
    """The world's servers, in a loop of their own; `do` runs something there and waits for it."""

    def __init__(self) -> None:
        self.world = MemoryBlade()
        self._loop = LoopThread()
        self.do = self._loop.run
        self.do(self._open())

    def change(self, job: job_pb2.Job, **fields: Any) -> None:
        async def change() -> None:
            self.world.change(job, **fields)

        self.do(change())

    async def _open(self, port: int = 0) -> None:
        self._server = grpc.aio.server()
        config_service_pb2_grpc.add_ConfigServiceServicer_to_server(self.world, self._server)
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self.world, self._server)
        target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        self.web = Web(target, ListenPolicy(port=port), door_key="", query_timeout_s=300.0)
        self.port = await self.web.start()

    async def _shut(self) -> None:
        await self.web.stop(0)
        await self._server.stop(0)

    def stop_serving(self) -> None:
        self.do(self._shut())

    def serve_again(self) -> None:
        self.do(self._open(self.port))

    def close(self) -> None:
        self.do(self._shut())
        self._loop.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def world(stage: Stage) -> MemoryBlade:
    """Three sources and no job."""
    stage.world.add_source("blade-maintenance", "maintenance", display_name="BLADE Maintenance Data")
    stage.world.add_source("blade-sortie", "sortie", display_name="Sorties")
    stage.world.add_source("blade-logistics", "logistics", display_name="Logistics", enabled=False)
    return stage.world


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Not for the session: as long as it is open, Playwright has this thread's event loop, which other tests need."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_BROWSER,
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync",
            ],
        )  # fmt: skip
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Any, stage: Stage) -> Iterator[Any]:
    context = chromium.new_context(base_url=f"http://127.0.0.1:{stage.port}", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A page of which no script may fail and no rule of the Content-Security-Policy may be broken."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: "Content Security Policy" in message.text and faults.append(message.text))
    yield page
    assert faults == []
