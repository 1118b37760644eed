"""Traces of a real server, as a collector receives them: a job from its call to the catalog and the warehouse."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
from tests.support.access import ADMIN_TOKEN
from tests.support.databases import own_database
from tests.support.engine import maintenance_rows
from tests.support.otlp import Collector, Seen
from tests.support.servers import Served

from blade_sandbox.catalog import CatalogServer
from blade_sandbox.warehouse import Warehouse as Sandbox
from blade_sandbox.warehouse.session.session import Session

CALLERS_TRACE, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROWS = 300
TIMEOUT_S = 30.0


class World:
    """A server with its warehouse, its catalog and a collector; what it did once, and has sent when it has stopped."""

    def __init__(self, url: str, folder: Path, collector: Collector, wait_until: Callable[..., None]) -> None:
        self.collector = collector
        with (
            Sandbox(tables={}) as warehouse,
            CatalogServer(directory=folder / "catalog") as catalog,
        ):
            warehouse.load("main.blade.maintenance", pa.table(maintenance_rows(ROWS)))
            server = Served(
                "--json",
                DATABASE_URL=url,
                DATABRICKS_SERVER_HOSTNAME=warehouse.url,
                DATABRICKS_HTTP_PATH=warehouse.http_path,
                DATABRICKS_TOKEN=warehouse.token,
                BLADE_CATALOG_URL=catalog.url,
                BLADE_LOG_FORMAT="json",
                **collector.environment,
            )
            try:
                self._url = f"http://127.0.0.1:{server.said()['http_port']}"
                self._use(wait_until)
                self.uploaded_in: list[str] = catalog.status()["traceparents"]
            finally:
                self.status, self.log = server.stop()

    def _use(self, wait_until: Callable[..., None]) -> None:
        table = {"catalog": "main", "schema": "blade", "table": "maintenance"}
        source = {"name": "good", "dataType": "good", "config": table}
        added = self.call("POST", "/configure/blade/good", json=source)
        assert added.ok, added.text
        trace = {"traceparent": f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01"}
        started = self.call("POST", "/jobs/blade/query/start", json={"source": "good"}, headers=trace)
        self.job_id: str = started.json()["jobId"]
        path = f"/jobs/blade/query/status?id={self.job_id}"
        wait_until(lambda: self.call("GET", path).json()["status"] == "COMPLETED")
        assert self.call("GET", "/jobs/blade/query/status?id=job-of-nobody00000000000").status_code == 404
        assert self.call("GET", "/jobs", headers={"traceparent": "x" * 3000, "tracestate": "\x7f"}).ok

    def call(self, verb: str, path: str, **options: Any) -> requests.Response:
        headers = options.pop("headers", {}) | {"authorization": f"Bearer {ADMIN_TOKEN}"}
        return requests.request(verb, self._url + path, headers=headers, timeout=TIMEOUT_S, **options)

    def one(self, name: str) -> Seen:
        """The only span of this name in the caller's trace."""
        [found] = [span for span in self.collector.spans(name) if span.trace_id == CALLERS_TRACE]
        return found


@pytest.fixture(scope="module")
def world(
    _postgres: str, _migrated_template: str, tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., None]
) -> Iterator[World]:
    assigned.clear()
    with (
        own_database(_postgres, _migrated_template) as url,
        Collector().running() as collector,
        pytest.MonkeyPatch.context() as patch,
    ):
        assign = Session.assign
        patch.setattr(
            Session, "assign", lambda self, name, value: (assigned.append((name, value)), assign(self, name, value))
        )
        yield World(url, tmp_path_factory.mktemp("traces"), collector, wait_until)


assigned: list[tuple[str, str]] = []


def test_the_call_is_in_the_callers_span_and_the_job_in_the_calls(world: World) -> None:
    call, job = world.one("blade.v1.JobService/StartQueryJob"), world.one("job")

    assert call.parent_id == CALLERS_SPAN
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "blade.v1.JobService/StartQueryJob",
        "rpc.response.status_code": "OK",
    }
    assert job.parent_id == call.span_id
    assert job.links == (call.span_id,)
    assert job.attributes == {
        "blade.job.id": world.job_id,
        "blade.job.kind": "QUERY",
        "blade.job.epoch": 1,
        "blade.job.status": "COMPLETED",
        "blade.source": "good",
        "blade.destination": "default",
    }
    assert {span.service for span in world.collector.spans()} == {"blade"}


def test_the_jobs_work_is_inside_of_it(world: World) -> None:
    job = world.one("job")
    inside = [
        span for span in world.collector.spans() if span.trace_id == CALLERS_TRACE and span.parent_id == job.span_id
    ]

    assert {span.name for span in inside} == {"statement", "transform", "upload", "record"}
    assert sorted(span.attributes["blade.batch.items"] for span in inside if span.name == "upload") == [100, 100, 100]
    assert sum(span.attributes["blade.rows"] for span in inside if span.name == "transform") == ROWS
    assert sum(span.attributes["blade.rows"] for span in inside if span.name == "record") == ROWS
    assert {span.attributes["server.address"] for span in inside if span.name == "statement"} == {"127.0.0.1"}
    assert not any(span.failed for span in inside)


def test_the_catalog_is_told_the_span_of_each_upload(world: World) -> None:
    uploads = [span.span_id for span in world.collector.spans("upload")]

    assert sorted(world.uploaded_in) == sorted(f"00-{CALLERS_TRACE}-{span_id}-01" for span_id in uploads)
    assert len(uploads) == 3


def test_the_warehouses_history_tells_the_job_and_the_trace(world: World) -> None:
    tags = [value for name, value in assigned if name == "QUERY_TAGS"]
    assert tags == [f"blade_job:{world.job_id},blade_trace:{CALLERS_TRACE}"]


def test_what_the_caller_did_wrong_is_no_failure_of_the_server(world: World) -> None:
    calls = world.collector.spans("blade.v1.JobService/GetJob")
    [refused] = [call for call in calls if call.attributes["rpc.response.status_code"] == "NOT_FOUND"]
    assert refused.attributes["error.type"] == "JOB_NOT_FOUND"
    assert not refused.failed


def test_a_call_outside_of_any_trace_begins_one(world: World) -> None:
    [listed] = world.collector.spans("blade.v1.JobService/ListJobs")
    assert listed.parent_id == ""
    assert listed.trace_id != CALLERS_TRACE


@pytest.mark.slow
def test_a_collector_that_never_answers_does_not_hold_up_the_end(postgres_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = Served(
            "--json",
            DATABASE_URL=postgres_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
        )
        port = server.said()["http_port"]
        assert requests.get(f"http://127.0.0.1:{port}/jobs", timeout=TIMEOUT_S).status_code == 401
        began = time.monotonic()
        status, _ = server.stop()
    assert status == 0
    assert time.monotonic() - began < 10  # the SDK alone would wait for half a minute


def test_the_log_tells_the_trace_of_a_call_and_of_a_job(world: World) -> None:
    events = [json.loads(line) for line in world.log.splitlines()]
    [call] = [event for event in events if event.get("method") == "blade.v1.JobService/StartQueryJob"]
    span = world.one("blade.v1.JobService/StartQueryJob")

    assert world.status == 0
    assert (call["event"], call["code"], call["principal"]) == ("call", "OK", "admin")
    assert call["duration_ms"] > 0
    assert (call["trace_id"], call["span_id"]) == (CALLERS_TRACE, span.span_id)
    refused = [event for event in events if event.get("code") == "NOT_FOUND"]
    assert [event["reason"] for event in refused] == ["JOB_NOT_FOUND"]
    assert all(event["time"].endswith("Z") and event["level"] and event["logger"] for event in events)
