"""blade.v1.SyncService over a whole server, in its own words and in those of REST."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import requests
from tests.support.access import HEADERS, METADATA, called
from tests.support.databases import own_database
from tests.support.nouns import a_source
from tests.support.servers import Served

from blade.v1 import sync_pb2, sync_service_pb2
from blade.v1.job_pb2 import Job
from blade.v1.sync_service_pb2_grpc import SyncServiceStub
from blade_server.storage.database import Database
from blade_server.storage.sources import SourceStore

from .conftest import TIMEOUT_S, Details, failure

SPEC = {"source": "parts", "filter": "a > 1", "guards": {"maxDeletes": "7"}, "schedule": {"every": "3600s"}}


class World:
    def __init__(self, server: Served, said: dict[str, Any]) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{said['port']}")
        self.stub = SyncServiceStub(self.channel)
        self.url = f"http://127.0.0.1:{said['http_port']}"

    def rest(self, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = requests.request(verb, self.url + path, json=body, headers=HEADERS, timeout=TIMEOUT_S)
        return answer.status_code, answer.json()

    def call(self, method: str, **request: Any) -> Any:
        message = getattr(sync_service_pb2, f"{method}Request")(**request)
        return getattr(self.stub, method)(message, metadata=METADATA, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def world(_postgres: str, _migrated_template: str) -> Iterator[World]:
    with own_database(_postgres, _migrated_template) as url:
        database = Database(url, pool_size=1)
        for name in ("parts", "tools", "bolts"):
            source = a_source()
            config = replace(source.config, table=name, host="no.host")
            SourceStore(database).add(replace(source, name=name, data_type=name, config=config), by=called())
        database.close()
        server = Served("--json", DATABASE_URL=url, BLADE_CATALOG_URL="http://127.0.0.1:9", BLADE_MAX_RUNNING_JOBS="0")
        world = World(server, server.said())
        yield world
        world.channel.close()
        server.process.terminate()
        server.process.communicate(timeout=TIMEOUT_S)


def test_a_sync_lives_over_rest(world: World) -> None:
    code, made = world.rest("POST", "/syncs", {"name": "parts", "spec": SPEC})
    assert code == 200
    assert (made["name"], made["owner"], made["spec"]["mode"]) == ("parts", "admin", "CHANGED")
    assert made["spec"]["guards"] == {"maxDeleteShare": 0.05, "maxDeletes": 7, "confirmRuns": 1}
    assert made["nextRunTime"]
    assert world.rest("GET", "/syncs/parts")[1]["etag"] == made["etag"]
    assert [sync["name"] for sync in world.rest("GET", "/syncs?source=parts")[1]["syncs"]] == ["parts"]

    code, changed = world.rest("PATCH", "/syncs/parts", {"spec": {"batchSize": 7, "filter": ""}, "etag": made["etag"]})
    assert (code, changed["spec"]["batchSize"], changed["spec"]["filter"]) == (200, 7, "a > 1")
    code, changed = world.rest(
        "PATCH", "/syncs/parts?updateMask=spec.filter,spec.guards.maxDeletes", {"spec": {"guards": {"maxDeletes": 9}}}
    )
    assert (code, changed["spec"].get("filter", ""), changed["spec"]["guards"]["maxDeletes"]) == (200, "", 9)
    code, problem = world.rest("PATCH", "/syncs/parts", {"spec": {"batchSize": 8}, "etag": made["etag"]})
    assert (code, problem["error"]["status"]) == (409, "ABORTED")

    code, job = world.rest("POST", "/syncs/parts:run", {"reason": "now"})
    assert (code, job["kind"], job["sync"], job["status"]) == (202, "SYNC", "parts", "PENDING")
    code, busy = world.rest("POST", "/syncs/parts:run", {})
    assert (code, busy["error"]["status"]) == (400, "FAILED_PRECONDITION")
    info = next(detail for detail in busy["error"]["details"] if detail["@type"].endswith("ErrorInfo"))
    assert (info["reason"], info["metadata"]["job_id"]) == ("SYNC_BUSY", job["jobId"])
    assert world.rest("POST", "/syncs/parts:plan", {})[0] == 202
    runs = world.rest("GET", "/syncs/parts/runs?pageSize=1")[1]
    assert [(run["number"], run["kind"]) for run in runs["runs"]] == [(2, "PLAN")]
    report = world.rest("GET", f"/syncs/parts/runs/{job['jobId']}/report")[1]
    assert report["job"]["jobId"] == job["jobId"]
    assert world.rest("GET", "/syncs/parts/fires")[1].get("fires", []) == []
    assert world.rest("GET", "/syncs/parts/items/a%2Fb")[1]["error"]["status"] == "NOT_FOUND"

    assert world.rest("POST", "/syncs/parts:pause", {"reason": "x"})[1]["pauseReason"] == "by admin: x"
    assert "nextRunTime" in world.rest("POST", "/syncs/parts:resume", {})[1]
    code, copy = world.rest("POST", "/syncs/parts:clone", {"newName": "bolts", "spec": {"source": "bolts"}})
    assert (code, copy["spec"]["source"], copy["spec"]["batchSize"], copy["paused"]) == (200, "bolts", 7, True)
    assert world.rest("DELETE", "/syncs/parts")[0] == 400
    assert world.rest("DELETE", "/syncs/bolts")[1] == {"itemsLeft": 0}
    assert world.rest("GET", "/syncs/bolts")[0] == 404
    jobs = world.rest("GET", "/jobs?sync=parts&kinds=SYNC")[1]["jobs"]
    assert [shown["jobId"] for shown in jobs] == [job["jobId"]]
    assert job["jobId"] not in str(world.rest("GET", "/jobs")[1])


def test_wrong_fields_are_named_in_the_words_of_the_request(world: World) -> None:
    code, problem = world.rest("POST", "/syncs", {"name": "X", "spec": {"source": "parts", "batchSize": 0}})
    assert code == 400
    bad = next(detail for detail in problem["error"]["details"] if detail["@type"].endswith("BadRequest"))
    assert {violation["field"] for violation in bad["fieldViolations"]} == {"sync.name", "sync.spec.batch_size"}
    for mask in ("name", "spec.none", "spec.guards.none"):
        assert world.rest("PATCH", f"/syncs/none?updateMask={mask}", {"spec": {}})[0] in (400, 404)


def test_a_sync_lives_over_grpc(world: World) -> None:
    sync = sync_pb2.Sync(name="grpc", spec={"source": "tools", "mode": "FULL"})
    made = world.call("CreateSync", sync=sync, request_id="one").sync
    assert world.call("CreateSync", sync=sync, request_id="one").sync.etag == made.etag
    assert world.call("GetSync", name="grpc").sync == made
    job = world.call("RunSync", name="grpc", whole=True, request_id="r").job
    assert job.kind == Job.SYNC
    assert world.call("RunSync", name="grpc", whole=True, request_id="r").job.job_id == job.job_id
    for method in ("RunSync", "PlanSync", "ApplyPlan", "VerifySync", "BackfillSync", "AcceptDeletes", "GetSync"):
        error = failure(lambda: world.call(method, name=""))  # noqa: B023
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, method
    error = failure(lambda: world.call("DeleteSync", name="grpc"))
    assert (error.code(), Details(error).info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SYNC_BUSY")
    assert world.call("VerifySync", name="grpc").job.kind == Job.VERIFY
    window = {"name": "grpc", "column": "a", "from": "1"}
    assert Details(failure(lambda: world.call("BackfillSync", **window))).info.reason == "SYNC_BUSY"
    error = failure(lambda: world.call("AcceptDeletes", name="grpc", job_id=job.job_id, reason="x"))
    assert Details(error).info.reason == "JOB_STATUS"


def test_who_runs_a_sync_sees_of_it_what_he_may_read(world: World) -> None:
    secret = "SELECT * FROM bolts WHERE a = 'AF-007'"
    world.rest("POST", "/syncs", {"name": "seen", "spec": {"source": "bolts", "sql": secret, "scope": "seen"}})
    grants = [{"role": "OPERATOR", "scope": "source:bolts", "ceiling": "UNCLASS"}]
    token = world.rest("POST", "/access/tokens", {"principal": "olga", "grants": grants})[1]["secret"]

    def olga(verb: str, path: str) -> str:
        headers = {"authorization": f"Bearer {token}"}
        answer = requests.request(verb, world.url + path, json={}, headers=headers, timeout=TIMEOUT_S)
        assert answer.ok, answer.text
        assert answer.json()["redacted"]
        return answer.text

    assert "AF-007" not in olga("GET", "/syncs/seen")
    for verb in ("pause", "resume", "plan", "run"):
        assert "AF-007" not in olga("POST", f"/syncs/seen:{verb}"), verb
    assert "AF-007" in str(world.rest("POST", "/syncs/seen:pause", {})[1])
    job_id = world.rest("GET", "/syncs/seen")[1]["runningJobId"]
    assert world.rest("POST", f"/jobs/{job_id}:cancel", {})[0] == 200
    world.rest("DELETE", "/syncs/seen")
