"""What an OpenLineage backend hears of runs: real jobs, a receiver in the place of the backend."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.engine import TABLE
from tests.support.syncs import SyncWorld
from tests.support.waiting import wait_until
from tests.support.webhooks import Receiver

from blade_server.lineage import Lineage
from blade_server.model import Job, JobKind, JobLimits, Status


@pytest.fixture
def backend() -> Iterator[Receiver]:
    with Receiver().running() as backend:
        yield backend


@pytest.fixture
def world(
    make_sync_world: Callable[..., SyncWorld], backend: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SyncWorld]:
    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setenv("OPENLINEAGE_URL", f"http://{backend.host}")
    syncs = make_sync_world(60, runner=False)
    lineage = Lineage.from_environment()
    syncs.world.runner(lineage=lineage)
    yield syncs
    lineage.close()


def events(backend: Receiver, job: Job, count: int = 2) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        every = [json.loads(request.body) for request in backend.received]
        return [event for event in every if event["run"]["facets"]["externalQuery"]["externalQueryId"] == job.job_id]

    wait_until(lambda: len(found()) >= count)
    return found()


def test_a_run_of_a_sync_is_told_with_its_table_and_its_destination(world: SyncWorld, backend: Receiver) -> None:
    job = world.run()
    start, end = events(backend, job)
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == end["run"]["runId"]
    assert start["job"]["name"] == end["job"]["name"] == "sync.keep"
    warehouse, catalog = world.world.warehouse.url, world.world.catalog.url
    for event in (start, end):
        (read,), (written,) = event["inputs"], event["outputs"]
        assert (read["namespace"], read["name"]) == (warehouse.replace("http://", "databricks://"), TABLE)
        assert (written["namespace"], written["name"]) == (catalog, "BLADE:maintenance")
    assert end["inputs"][0]["facets"]["version"]["datasetVersion"].isdigit()
    assert end["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 60
    text = json.dumps([start, end])
    assert world.world.warehouse.token not in text
    assert "SELECT" not in text


def test_a_plan_writes_nowhere_and_has_a_name_of_its_own(world: SyncWorld, backend: Receiver) -> None:
    start, end = events(backend, world.run(JobKind.PLAN))
    assert [start["outputs"], end["outputs"]] == [[], []]
    assert end["job"]["name"] == "sync.keep.plan"


def test_a_job_over_sql_is_told_with_every_table_that_it_reads(world: SyncWorld, backend: Receiver) -> None:
    world.sql(f"CREATE TABLE main.blade.other AS SELECT * FROM {TABLE} WHERE number < 5")
    engine = world.world
    engine.settings = engine.configured(allowed_tables="main.blade.other")
    job = _started(engine, sql=f"SELECT m.* FROM {TABLE} m JOIN main.blade.other o ON m.item_id = o.item_id")
    start, end = events(backend, job)
    assert [read["name"] for read in start["inputs"]] == [TABLE, "main.blade.other"]
    assert end["job"]["name"] == "source.blade-maintenance"


def test_a_run_that_fails_is_told_by_its_reason_and_not_by_its_words(world: SyncWorld, backend: Receiver) -> None:
    world.sql("UPDATE {t} SET classification = 'SECRET-WORDS' WHERE number < 50")
    world.update(limits=JobLimits(max_errors=3))
    job = world.run()
    assert job.status is Status.FAILED
    _, end = events(backend, job)
    assert end["eventType"] == "FAIL"
    assert end["run"]["facets"]["errorMessage"]["message"] == "TOO_MANY_ERRORS"
    assert "SECRET-WORDS" not in json.dumps(end)


def test_a_run_goes_on_where_the_backend_does_not(world: SyncWorld, backend: Receiver) -> None:
    backend.answers = lambda _: 500
    assert world.run().status is Status.COMPLETED


def _started(engine: Any, **request: Any) -> Job:
    job = engine.begin(**request)
    wait_until(lambda: engine.store.get(job.job_id).status.final)
    return engine.store.get(job.job_id)
