"""A browser, and a small world of sources and jobs behind the real HTTP side.

The world is a gRPC server that keeps everything in memory and moves only when a test says so, so that a test can show
the page any state it likes, hundreds of jobs among them. What is under test is the page, the transcoder and the guard;
who calls, and whether the method is for him, is found out by the real door, over a real PostgreSQL where it is on.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc.aio
import pytest
import sqlalchemy
from tests.browser.memory_syncs import MemorySyncs
from tests.support.loops import LoopThread

from blade.v1 import (
    access_pb2,
    access_service_pb2,
    access_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    config_service_pb2,
    config_service_pb2_grpc,
    cost_pb2,
    error_reason_pb2,
    item_pb2,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    source_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from blade_server.core.access.door import Door
from blade_server.core.access.sessions import Sessions
from blade_server.core.access.tokens import hash_of, new_token
from blade_server.core.audit.refusals import Refusals
from blade_server.errors import Invalid, NotFound, Precondition, StorageUnavailable
from blade_server.model.error_reason import Reason
from blade_server.model.policy import AccessPolicy, ListenPolicy, WebPolicy
from blade_server.rpc.around.access import Access
from blade_server.rpc.around.chain import Chain
from blade_server.rpc.around.drain import Drain
from blade_server.rpc.around.pace import Pace
from blade_server.rpc.caller import Lines, current
from blade_server.rpc.convert.access import grant_message
from blade_server.rpc.methods import needs_of
from blade_server.rpc.threads import Threads
from blade_server.storage.access import AccessStore
from blade_server.storage.database import Database
from blade_server.storage.sessions import SessionStore
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
    access_service_pb2_grpc.AccessServiceServicer,
    audit_service_pb2_grpc.AuditServiceServicer,
):
    """Sources, jobs and who may do what, in memory; changes of jobs go through `change`, which rings for watchers."""

    def __init__(self) -> None:
        self.sources: dict[str, source_pb2.Source] = {}
        self.jobs: dict[str, job_pb2.Job] = {}
        self.errors: dict[str, list[job_pb2.ItemError]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.failing: set[str] = set()
        self.tokens: dict[str, access_service_pb2.Token] = {}
        self.grants: dict[str, access_pb2.Grant] = {}
        self.audit: list[audit_service_pb2.AuditEntry] = []
        self.audit_problem = ""
        self.provider: access_service_pb2.IdentityProvider | None = None
        self.costs: list[cost_pb2.SourceCost] = []
        self.syncs = MemorySyncs(self)
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
        fields = {"kind": Job.QUERY, **fields}
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

    async def ListSourceCosts(self, request: Any, context: Any) -> Any:
        await self._called("ListSourceCosts", request, context)
        return cost_pb2.ListSourceCostsResponse(costs=self.costs)

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

    async def GetSource(self, request: Any, context: Any) -> Any:
        await self._called("GetSource", request, context)
        return config_service_pb2.GetSourceResponse(source=self.sources[request.name])

    async def ListJobs(self, request: Any, context: Any) -> Any:
        await self._called("ListJobs", request, context)
        jobs = [
            job
            for job in reversed(self.jobs.values())
            if (not request.statuses or job.status in request.statuses) and request.source in ("", job.spec.source)
            if job.completed_with_errors or not request.with_errors
            if job.kind in (request.kinds or (Job.QUERY,))
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

    async def WatchJob(self, request: Any, context: Any) -> None:
        await self._called("WatchJob", request, context)
        job = await self._job(request.job_id, context)
        while True:
            ring = self._rings.setdefault(job.job_id, asyncio.Event())
            await context.write(job_service_pb2.WatchJobResponse(job=job).SerializeToString())
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
            raise Invalid.field("sql", "DROP is not a SELECT; send one SELECT", reason=Reason.INVALID_SQL)
        job = self.add_job(Job.PENDING, request.source or "blade-maintenance", total=None, age_s=0)
        job.spec.sql = request.sql
        return job_service_pb2.StartQueryJobResponse(job=job)

    async def PreviewItems(self, request: Any, context: Any) -> Any:
        await self._called("PreviewItems", request, context)
        if "DROP" in request.sql:
            raise Invalid.field("sql", "DROP is not a SELECT; send one SELECT", reason=Reason.INVALID_SQL)
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

    async def WhoAmI(self, request: Any, context: Any) -> Any:
        principal = current().principal
        grants = map(grant_message, principal.grants)
        return access_service_pb2.WhoAmIResponse(principal=principal.name, kind=principal.kind, grants=grants)

    async def GetSignIn(self, request: Any, context: Any) -> Any:
        return access_service_pb2.GetSignInResponse(provider=self.provider)

    async def ListTokens(self, request: Any, context: Any) -> Any:
        await self._called("ListTokens", request, context)
        return access_service_pb2.ListTokensResponse(tokens=self.tokens.values())

    async def CreateToken(self, request: Any, context: Any) -> Any:
        await self._called("CreateToken", request, context)
        if sum(token.principal == request.principal for token in self.tokens.values()) > 1:
            message = f"{request.principal} has two good tokens; revoke one of them"
            raise Precondition(message, reason=Reason.ACCESS_STATE)
        token_id, secret = new_token()
        token = access_service_pb2.Token(
            token_id=token_id,
            principal=request.principal,
            description=request.description,
            created_by=current().principal.name,
        )
        token.create_time.GetCurrentTime()
        self.tokens[token_id] = token
        for grant in request.grants:
            self.grants[token_id] = access_pb2.Grant(
                grant_id=token_id, principal=request.principal, role=grant.role, scope=grant.scope
            )
        return access_service_pb2.CreateTokenResponse(secret=secret, token=token)

    async def RevokeToken(self, request: Any, context: Any) -> Any:
        await self._called("RevokeToken", request, context)
        token = self.tokens[request.token_id]
        token.revoke_time.GetCurrentTime()
        return access_service_pb2.RevokeTokenResponse(token=token)

    async def ListGrants(self, request: Any, context: Any) -> Any:
        await self._called("ListGrants", request, context)
        return access_service_pb2.ListGrantsResponse(grants=self.grants.values())

    async def CreateGrant(self, request: Any, context: Any) -> Any:
        await self._called("CreateGrant", request, context)
        grant = access_pb2.Grant()
        grant.CopyFrom(request.grant)
        grant.grant_id = f"grant-{len(self.grants) + 1}"
        if not grant.scope.startswith(("*", "source:", "data_type:")):
            raise Invalid.field("grant.scope", f"is {grant.scope!r}; write *, source:NAME or data_type:NAME")
        self.grants[grant.grant_id] = grant
        return access_service_pb2.CreateGrantResponse(grant=grant)

    async def RevokeGrant(self, request: Any, context: Any) -> Any:
        await self._called("RevokeGrant", request, context)
        del self.grants[request.grant_id]
        return access_service_pb2.RevokeGrantResponse()

    async def ListAuditEntries(self, request: Any, context: Any) -> Any:
        await self._called("ListAuditEntries", request, context)
        entries = [
            entry
            for entry in reversed(self.audit)
            if request.principal in ("", entry.principal)
            and (not request.outcomes or entry.outcome in request.outcomes)
        ]
        begin, size = int(request.page_token or 0), request.page_size
        token = str(begin + size) if begin + size < len(entries) else ""
        return audit_service_pb2.ListAuditEntriesResponse(entries=entries[begin : begin + size], next_page_token=token)

    async def VerifyAuditLog(self, request: Any, context: Any) -> Any:
        await self._called("VerifyAuditLog", request, context)
        return audit_service_pb2.VerifyAuditLogResponse(
            intact=not self.audit_problem, problem=self.audit_problem, entry_count=len(self.audit),
            head_number=len(self.audit), head_hash="ab" * 32, first_wrong=2 if self.audit_problem else 0,
        )  # fmt: skip

    async def _called(self, name: str, request: Any, context: Any) -> None:
        self.calls.append((name, request))
        if name in self.failing:
            raise StorageUnavailable("PostgreSQL does not answer; try again")

    async def _job(self, job_id: str, context: Any) -> job_pb2.Job:
        if job_id not in self.jobs:
            raise NotFound(f"no job has the id {job_id!r}", reason=Reason.JOB_NOT_FOUND)
        return self.jobs[job_id]

    async def _acted(self, name: str, request: Any, context: Any, allowed: set[int], kind: Any) -> job_pb2.Job:
        await self._called(name, request, context)
        job = await self._job(request.job_id, context)
        if job.status not in allowed:
            message = f"{job.job_id} is {Job.Status.Name(job.status)}; that is not possible now"
            raise Precondition(message, reason=Reason.JOB_STATUS)
        self._note(job, kind, current().name, request.reason)
        return job


_SERVICES = (
    config_service_pb2_grpc.add_ConfigServiceServicer_to_server,
    job_service_pb2_grpc.add_JobServiceServicer_to_server,
    access_service_pb2_grpc.add_AccessServiceServicer_to_server,
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
)
_NEEDS = needs_of(
    service
    for module in (config_service_pb2, job_service_pb2, access_service_pb2, audit_service_pb2, sync_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)


class Stage:
    """The world's servers, in a loop of their own; `do` runs something there and waits for it.

    `database_url`: of who signs in; None: authentication is off.
    """

    def __init__(self, database_url: str | None = None, *, host: str = "127.0.0.1") -> None:
        self.world = MemoryBlade()
        self.database = None if database_url is None else Database(database_url, pool_size=4)
        store, sessions = AccessStore(self.database), SessionStore(self.database)  # type: ignore[arg-type]
        self.door = Door(AccessPolicy(required=database_url is not None), store, sessions=sessions)
        self._sessions = Sessions(self.door, sessions)
        self._refusals = Refusals(SimpleNamespace(note=lambda *_: True))  # type: ignore[arg-type]
        self._threads = Threads(stored=4, streams=1)
        self._host = host
        self._loop = LoopThread()
        self.do = self._loop.run
        self.do(self._open())

    def change(self, job: job_pb2.Job, **fields: Any) -> None:
        async def change() -> None:
            self.world.change(job, **fields)

        self.do(change())

    def token(self, principal: str, *grants: tuple[str, str]) -> str:
        """A token of a principal who holds these roles on these scopes."""
        token_id, token = new_token()
        self.run(
            "INSERT INTO access_token (token_id, principal, hash, create_time) VALUES (:id, :principal, :hash, now())",
            id=token_id, principal=principal, hash=hash_of(token),
        )  # fmt: skip
        for number, (role, scope) in enumerate(grants):
            self.run(
                "INSERT INTO access_grant (grant_id, principal, role, scope, create_time)"
                " VALUES (:id, :principal, :role, :scope, now())",
                id=f"{token_id}-{number}", principal=principal, role=role, scope=scope,
            )  # fmt: skip
        return token

    def run(self, statement: str, **values: Any) -> None:
        assert self.database is not None
        with self.database.begin() as connection:
            connection.execute(sqlalchemy.text(statement), values)
        self.door.forget()

    async def _open(self, port: int = 0) -> None:
        access = Access(self.door, self._threads, Lines(), Pace(0), self._refusals)
        chain = Chain(Drain(), access, _NEEDS, open_contract=False)
        self._server = grpc.aio.server(interceptors=[chain])
        for add in _SERVICES:
            add(self.world, self._server)
        sync_service_pb2_grpc.add_SyncServiceServicer_to_server(self.world.syncs, self._server)
        target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        policy = WebPolicy(listen=ListenPolicy(host=self._host, port=port))
        self.web = Web(target, policy, self._sessions, self._refusals, door_key=access.lines.door_key, checks=tuple)
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
        self._threads.close()
        if self.database is not None:
            self.database.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def world(stage: Stage) -> MemoryBlade:
    """Three sources and no job."""
    return furnished(stage)


def furnished(stage: Stage) -> MemoryBlade:
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
