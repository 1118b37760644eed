"""A server as those see it who watch it: ready or not, the same from every side; the metrics of all its processes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from tests.support.access import METADATA
from tests.support.databases import own_database
from tests.support.metrics import UNREADABLE_ENDED, Scrape, store_unreadable_job
from tests.support.postgres import frozen
from tests.support.servers import TIMEOUT_S, Served, run
from tests.support.waiting import wait_until

from blade.v1 import job_service_pb2, job_service_pb2_grpc
from blade.v1.job_pb2 import Job


class World:
    """A server with an admin port."""

    def __init__(self, url: str, **changes: str) -> None:
        self.database_url = url
        self.server = Served("--json", DATABASE_URL=url, BLADE_ADMIN_PORT=None, **changes)
        self.said = self.server.said()
        self.http, self.admin = (f"http://127.0.0.1:{self.said[port]}" for port in ("http_port", "admin_port"))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.said['port']}")
        self.jobs: Any = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel)

    def scrape(self) -> Scrape:
        return Scrape(self.said)

    def value(self, name: str, **labels: str) -> float | None:
        return self.scrape()(name, **labels)

    def says(self) -> tuple[int, int, str]:
        """Of both ports, and of gRPC health."""
        codes = [requests.get(f"{url}/readyz", timeout=TIMEOUT_S).status_code for url in (self.http, self.admin)]
        status = self.health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S).status
        return codes[0], codes[1], health_pb2.HealthCheckResponse.ServingStatus.Name(status)

    def close(self) -> None:
        self.channel.close()
        if self.server.process.poll() is None:
            self.server.process.kill()
        self.server.process.communicate()


@pytest.fixture(scope="module")
def ready_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sight") / "ready"


@pytest.fixture(scope="module")
def world(_postgres: str, _migrated_template: str, ready_file: Path) -> Iterator[World]:
    with own_database(_postgres, _migrated_template) as url:
        world = World(url, BLADE_READY_FILE=str(ready_file), BLADE_ALLOWED_HOSTS="blade.test")
        yield world
        world.close()


def test_the_http_port_has_the_probes_for_everybody_and_no_metrics(world: World) -> None:
    assert world.says() == (200, 200, "SERVING")
    assert requests.get(f"{world.http}/livez", timeout=TIMEOUT_S).text == "ok\n"
    found = requests.get(f"{world.http}/readyz?verbose", timeout=TIMEOUT_S).text.splitlines()
    assert found[:4] == [f"[+] {name}: ok" for name in ("postgres", "migrations", "clock", "server")]
    assert found[-1] == "ok"
    assert requests.get(f"{world.http}/metrics", timeout=TIMEOUT_S).status_code == 404
    evil = requests.get(f"{world.http}/readyz", headers={"host": "evil.example"}, timeout=TIMEOUT_S)
    assert evil.status_code == 421


def test_the_ready_file_and_the_ready_line_name_the_admin_port(world: World, ready_file: Path) -> None:
    assert json.loads(ready_file.read_text())["admin_port"] == world.said["admin_port"] > 0
    assert world.said["admin_host"] == "127.0.0.1"


def test_calls_are_counted_by_method_and_status(world: World) -> None:
    def counts() -> list[float]:
        kinds = [("ListJobs", "OK"), ("GetJob", "NOT_FOUND"), ("GetJob", "UNAUTHENTICATED"), ("WatchJob", "NOT_FOUND")]
        scrape, name = world.scrape(), "rpc_server_call_duration_seconds_count"
        ended = [
            scrape(name, rpc_method=f"blade.v1.JobService/{method}", rpc_response_status_code=code)
            for method, code in kinds
        ]
        return [value or 0.0 for value in (*ended, scrape("blade_sign_in_failures_total", reason="nothing"))]

    before = counts()
    pending = job_service_pb2.ListJobsRequest(statuses=[Job.PENDING])  # another test leaves a job that cannot be read
    world.jobs.ListJobs(pending, metadata=METADATA, timeout=TIMEOUT_S)
    for metadata in (METADATA, METADATA, ()):
        with pytest.raises(grpc.RpcError):
            world.jobs.GetJob(job_service_pb2.GetJobRequest(id="none"), metadata=metadata, timeout=TIMEOUT_S)
    with pytest.raises(grpc.RpcError):
        list(world.jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id="x"), metadata=METADATA, timeout=TIMEOUT_S))
    wait_until(lambda: [now - was for was, now in zip(before, counts(), strict=True)] == [1, 2, 1, 1, 1])
    active = [value for (name, _), value in world.scrape().values.items() if name == "blade_rpc_server_active_calls"]
    assert active
    assert not any(active)


def test_a_scrape_has_how_the_server_stands(world: World) -> None:
    store_unreadable_job(world.database_url, "job-1")
    wait_until(lambda: world.value(**UNREADABLE_ENDED) == 1)
    found = {name: value for (name, labels), value in world.scrape().values.items() if not labels}
    assert found["blade_ready"] == found["blade_postgres_up"] == 1
    assert abs(found["blade_clock_offset_seconds"]) < 5
    assert 0 <= found["blade_event_loop_lag_seconds"] < 30
    assert found["blade_worker_processes"] == found["blade_watchers"] == found["blade_direct_streams"] == 0
    assert found["process_resident_memory_bytes"] > 1e6
    assert world.value("blade_build_info", version=version("blade")) == 1
    assert world.value("blade_jobs", status="RUNNING") == 0
    pool = {"name": "db_client_connection_count", "db_client_connection_pool_name": "main"}
    assert sum(world.value(**pool, db_client_connection_state=state) or 0.0 for state in ("used", "idle")) >= 1
    assert world.value("db_client_connection_pending_requests", db_client_connection_pool_name="urgent") == 0


def test_openmetrics_is_for_who_asks_for_it(world: World) -> None:
    accept = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    found = requests.get(f"{world.admin}/metrics", headers=accept, timeout=TIMEOUT_S)
    assert found.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "blade_jobs_ended" in {family.name for family in openmetrics(found.text)}
    usual = requests.get(f"{world.admin}/metrics", timeout=TIMEOUT_S)
    assert usual.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_without_an_admin_port_nothing_more_listens(postgres_url: str) -> None:
    server = Served("--json", DATABASE_URL=postgres_url, BLADE_ADMIN_PORT="0", BLADE_MAX_RUNNING_JOBS="0")
    try:
        assert server.said()["admin_port"] == 0
    finally:
        assert server.stop()[0] == 0


@pytest.mark.slow
def test_while_postgresql_is_frozen_nobody_says_ready_and_a_scrape_is_answered(world: World, ready_file: Path) -> None:
    watched = world.health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert next(watched).status == serving
    with frozen(world.database_url):
        began_s = time.monotonic()
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert time.monotonic() - began_s < 10
        wait_until(lambda: world.says() == (503, 503, "NOT_SERVING"))
        verbose = requests.get(f"{world.admin}/readyz?verbose", timeout=TIMEOUT_S).text
        assert "[-] postgres: does not answer\n" in verbose
        assert verbose.endswith("not ready: postgres\n")
        assert requests.get(f"{world.http}/livez", timeout=TIMEOUT_S).status_code == 200
        began_s = time.monotonic()
        assert (world.value("blade_postgres_up"), world.value("blade_ready")) == (0, 0)
        wait_until(lambda: world.value("blade_jobs", status="PENDING") is None)  # what it told before is 5 s old
        assert time.monotonic() - began_s < 12
        assert run("health", BLADE_READY_FILE=str(ready_file)) == (
            1,
            f"blade: the server of {ready_file} is NOT_SERVING",
        )
    assert next(watched).status == serving
    watched.cancel()
    wait_until(lambda: world.says() == (200, 200, "SERVING"))
    wait_until(lambda: world.value("blade_jobs", status="PENDING") is not None)
