"""The fake that users test against does what the service does: the same calls on both, the same ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blade.v1.job_pb2 import Job, JobEvent
from blade.v1.source_pb2 import Source, SourceConfig
from blade_client import BladeClient, BladeClientError
from blade_client.testing import FakeBlade

NAME = "fake-and-real"
NO_JOB = "job-00000000000000000000"
TABLE = {"catalog": "main", "schema": "blade", "table": "blade_maintenance_data"}
HIGH = "priority = 'HIGH'"


def a_source(name: str = NAME, **fields: Any) -> Source:
    config = SourceConfig(**TABLE)
    return Source(**{"name": name, "data_type": name, "config": config, **fields})


@pytest.fixture(scope="module")
def real(world: Any) -> Iterator[BladeClient]:
    with BladeClient(world.target, actor="tester") as client:
        if NAME not in {source.name for source in client.list_sources()}:
            client.add_source(a_source())
        yield client


@pytest.fixture(scope="module")
def fake(real: BladeClient) -> Iterator[BladeClient]:
    with FakeBlade() as blade:
        blade.add_source(a_source())
        blade.add_items(NAME, {item.item_id: dict(item.data) for item in real.query(NAME, limit=10_000)})
        blade.means(HIGH, lambda row, parameters: row["priority"] == "HIGH")
        yield blade.client(actor="tester")


def refused(call: Callable[[BladeClient], Any], blade: BladeClient) -> tuple[str, str, list[str]]:
    """The kind and reason of the error that a call ends with, and the fields it names."""

    def read() -> None:
        result = call(blade)
        list(result if hasattr(result, "__next__") or hasattr(result, "arrow_batches") else [])

    with pytest.raises(BladeClientError) as caught:
        read()
    error = caught.value
    fields = [violation.field for violation in error.violations] if type(error).__name__ == "Invalid" else []
    return type(error).__name__, error.reason, sorted(fields)


REFUSED: dict[str, Callable[[BladeClient], Any]] = {
    "a source nobody has": lambda b: b.get_source("nobody"),
    "a source without a name": lambda b: b.get_source(""),
    "a name that is taken": lambda b: b.add_source(a_source()),
    "a name that is none": lambda b: b.add_source(a_source("Not A Name", data_type="x")),
    "a source without a table": lambda b: b.add_source(Source(name="x", data_type="x")),
    "a page of no sources": lambda b: b.list_sources(page_size=0),
    "an old etag": lambda b: b.update_source(Source(name=NAME, display_name="x", etag="old")),
    "a field that cannot change": lambda b: b.update_source(Source(name=NAME), fields=["stats"]),
    "a removal with an old etag": lambda b: b.remove_source(NAME, etag="old"),
    "a removal of nothing": lambda b: b.remove_source("nobody"),
    "a test of nothing": lambda b: b.test_source("nobody"),
    "rows of nobody": lambda b: b.query("nobody"),
    "rows of no one": lambda b: b.query(""),
    "no rows": lambda b: b.query(NAME, limit=0),
    "rows before the first": lambda b: b.query(NAME, offset=-1),
    "rows of another type": lambda b: b.query("sortie", source=NAME),
    "an item nobody has": lambda b: b.get_item(NAME, "nobody"),
    "an item without an id": lambda b: b.get_item(NAME, ""),
    "ingestion of nobody": lambda b: b.ingest_item(NAME, "nobody"),
    "ingestion of no one": lambda b: b.ingest_item(NAME, ""),
    "a job of nothing": lambda b: b.start_query_job(),
    "a job that drops": lambda b: b.start_query_job("DROP TABLE x"),
    "a job over an unknown table": lambda b: b.start_query_job("SELECT * FROM nowhere"),
    "a job over another table": lambda b: b.start_query_job("SELECT * FROM nowhere", source=NAME),
    "a job over an unknown source": lambda b: b.start_query_job(source="nobody"),
    "a job out of range": lambda b: b.start_query_job(
        source=NAME, batch_size=0, workers=65, items_per_second=0, max_errors=-1, max_error_share=2
    ),
    "too long a request id": lambda b: b.start_query_job(source=NAME, request_id="x" * 129),
    "a job whose item id is a torso": lambda b: b.start_query_job(source=NAME, item_id="{x"),
    "a preview of nothing": lambda b: b.preview_items(source=NAME, limit=0),
    "a job nobody has": lambda b: b.get_job(NO_JOB),
    "a job without an id": lambda b: b.get_job(""),
    "a watch of nobody": lambda b: b.watch_job(NO_JOB),
    "a watch of no one": lambda b: b.watch_job(""),
    "too quick a watch": lambda b: b.watch_job(NO_JOB, min_interval_s=0.1),
    "a pause of nobody": lambda b: b.pause(NO_JOB),
    "a pause with a novel": lambda b: b.pause(NO_JOB, "x" * 1001),
    "a resumption of nobody": lambda b: b.resume(NO_JOB),
    "a cancel of nobody": lambda b: b.cancel(NO_JOB),
    "limits of nobody": lambda b: b.update_limits(NO_JOB),
    "limits out of range": lambda b: b.update_limits(NO_JOB, max_errors=-1, max_error_share=-1),
    "errors of nobody": lambda b: b.item_errors(NO_JOB),
    "a retry of nobody": lambda b: b.retry_failed(NO_JOB),
    "a page of no jobs": lambda b: b.list_jobs(page_size=1001),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_the_service_refuses_the_fake_refuses_for_the_same_reason(real, fake, call) -> None:
    assert refused(call, fake) == refused(call, real)


def story(blade: BladeClient) -> Iterator[Any]:
    """A job from its start to what can no longer be done with it; yields what a caller sees."""
    sql = f"SELECT * FROM main.blade.blade_maintenance_data WHERE {HIGH}"
    started = blade.start_query_job(sql, source=NAME, request_id="story")
    yield started.status, started.spec.source, started.spec.batch_size, started.wait_reason
    assert blade.start_query_job(sql, source=NAME, request_id="story").job_id == started.job_id
    yield refused(lambda b: b.start_query_job(source=NAME, request_id="story"), blade)
    last = blade.wait(started.job_id, timeout_s=60)
    yield last.status, last.total_items, last.processed_items, last.success_count, last.error_count
    yield last.completed_with_errors, last.wait_reason, last.HasField("estimated_completion"), last.HasField("end_time")
    yield [JobEvent.Kind.Name(event.kind) for event in blade.get_job(started.job_id).history]
    for call in (blade.pause, blade.resume, blade.cancel, blade.retry_failed, blade.update_limits):
        yield refused(lambda b, call=call: call(started.job_id), blade)
    yield list(blade.item_errors(started.job_id))
    yield started.job_id in [job.job_id for job in blade.list_jobs(statuses=["COMPLETED"], source=NAME)]
    yield started.job_id in [job.job_id for job in blade.list_jobs(source=NAME, with_errors=True)]
    item = next(iter(blade.query(NAME, filter=HIGH, limit=1)))
    yield item.item_id, dict(item.data)["priority"], item.classification
    yield blade.ingest_item(NAME, item.item_id).outcome
    yield blade.ingest_item(NAME, item.item_id, replace=True).outcome
    yield blade.query(NAME, filter=HIGH, columns=["priority"]).to_arrow().num_rows == last.total_items


def test_a_job_and_its_items_go_the_same_way_on_both(real, fake) -> None:
    assert list(story(fake)) == list(story(real))


def unlike_ids(blade: BladeClient) -> Iterator[Any]:
    """A job with an item id of its own, which several rows share, and what can be done about it."""
    sql = f"SELECT * FROM main.blade.blade_maintenance_data WHERE {HIGH}"
    options = {"source": NAME, "item_id": "P-{priority}", "last_modified": "", "classification": "UNCLASS"}
    shown = blade.preview_items(sql, limit=3, **options)
    yield [item.item_id for item in shown.items], shown.items[0].HasField("last_modified")
    last = blade.wait(blade.start_query_job(sql, **options).job_id, timeout_s=60)
    yield last.spec.item_id, last.spec.HasField("last_modified"), last.spec.last_modified
    yield last.status, last.completed_with_errors, last.success_count, last.error_count
    yield [(error.reason, error.field) for error in blade.item_errors(last.job_id)]
    yield refused(lambda b: b.retry_failed(last.job_id), blade)
    yield refused(lambda b: b.preview_items(sql, **{**options, "item_id": "{nowhere}"}), blade)
    lost = blade.wait(blade.start_query_job(sql, **{**options, "item_id": "{nowhere}"}).job_id, timeout_s=60)
    yield lost.status, lost.error.reason, lost.success_count


def test_a_job_with_an_item_id_of_its_own_goes_the_same_way_on_both(real, fake) -> None:
    assert list(unlike_ids(fake)) == list(unlike_ids(real))


def test_the_connection_test_of_a_source_goes_the_same_way_on_both(real, fake) -> None:
    ends = [
        (answer.passed, [(step.kind, step.outcome) for step in answer.steps])
        for answer in (fake.test_source(NAME), real.test_source(NAME))
    ]
    assert ends[0] == ends[1]


def test_watchers_see_the_same_states_in_the_same_order(real, fake) -> None:
    for blade in (real, fake):
        started = blade.start_query_job(source=NAME, batch_size=50)
        seen = [job.status for job in blade.watch_job(started.job_id, min_interval_s=0.2)]
        order = [Job.PENDING, Job.RUNNING, Job.COMPLETED]
        assert seen == sorted(seen, key=order.index)
        assert seen[-1] == Job.COMPLETED
