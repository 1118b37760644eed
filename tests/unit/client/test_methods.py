"""The requests that the methods make, and what they make of the answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from blade.v1 import config_service_pb2, ingest_service_pb2, job_service_pb2, query_service_pb2
from blade.v1.item_pb2 import Item
from blade.v1.job_pb2 import Job
from blade.v1.source_pb2 import Source
from blade_client import BladeClient

CASES: list[tuple[str, Callable[[BladeClient], Any], dict[str, Any], Any, Any]] = [
    (
        "GetSource",
        lambda b: b.get_source("s"),
        {"name": "s"},
        config_service_pb2.GetSourceResponse(source=Source(name="s")),
        Source(name="s"),
    ),
    (
        "AddSource",
        lambda b: b.add_source(Source(name="s"), data_type="d", validate_only=True, request_id="r"),
        {"source": Source(name="s"), "data_type": "d", "validate_only": True, "request_id": "r"},
        config_service_pb2.AddSourceResponse(source=Source(name="s")),
        config_service_pb2.AddSourceResponse(source=Source(name="s")),
    ),
    (
        "RemoveSource",
        lambda b: b.remove_source("s", etag="e"),
        {"name": "s", "etag": "e"},
        config_service_pb2.RemoveSourceResponse(),
        None,
    ),
    (
        "GetItem",
        lambda b: b.get_item("d", "i", source="s"),
        {"data_type": "d", "item_id": "i", "source": "s"},
        query_service_pb2.GetItemResponse(item=Item(item_id="i")),
        Item(item_id="i"),
    ),
    (
        "IngestItem",
        lambda b: b.ingest_item("d", "i", replace=True, metadata={"k": "v"}),
        {"data_type": "d", "item_id": "i", "replace": True, "metadata": {"k": "v"}},
        ingest_service_pb2.IngestItemResponse(outcome="REPLACED"),
        ingest_service_pb2.IngestItemResponse(outcome="REPLACED"),
    ),
    (
        "StartQueryJob",
        lambda b: b.start_query_job("SELECT 1", batch_size=5, max_errors=0, skip_existing=True, request_id="r"),
        {"sql": "SELECT 1", "batch_size": 5, "max_errors": 0, "skip_existing": True, "request_id": "r"},
        job_service_pb2.StartQueryJobResponse(job=Job(job_id="j")),
        Job(job_id="j"),
    ),
    (
        "GetJob",
        lambda b: b.get_job("j"),
        {"id": "j"},
        job_service_pb2.GetJobResponse(job=Job(job_id="j")),
        Job(job_id="j"),
    ),
    (
        "CancelJob",
        lambda b: b.cancel("j", "enough"),
        {"job_id": "j", "reason": "enough"},
        job_service_pb2.CancelJobResponse(job=Job(job_id="j")),
        Job(job_id="j"),
    ),
    (
        "RetryFailedItems",
        lambda b: b.retry_failed("j", "again", request_id="r"),
        {"job_id": "j", "reason": "again", "request_id": "r"},
        job_service_pb2.RetryFailedItemsResponse(job=Job(job_id="k")),
        Job(job_id="k"),
    ),
]


@pytest.mark.parametrize(("rpc", "call", "fields", "answer", "result"), CASES, ids=[case[0] for case in CASES])
def test_a_method_sends_what_it_was_given_and_returns_what_came(
    server, blade, rpc, call, fields, answer, result
) -> None:
    server.on(rpc, answer)
    assert call(blade) == result
    (request,) = server.asked(rpc)
    assert request == type(request)(**fields)
    assert server.metadata["blade-actor"] == "tester"


def test_list_jobs_takes_names_and_values_of_statuses_and_aware_times(server, blade) -> None:
    server.on("ListJobs", job_service_pb2.ListJobsResponse(jobs=[Job(job_id="j")]))
    since = datetime(2024, 1, 10, 15, 30, tzinfo=UTC)
    found = blade.list_jobs(statuses=["RUNNING", Job.PAUSED], source="s", created_after=since, page_size=3)
    assert [job.job_id for job in found] == ["j"]
    (request,) = server.asked("ListJobs")
    assert list(request.statuses) == [Job.RUNNING, Job.PAUSED]
    assert request.created_after.ToDatetime(tzinfo=UTC) == since
    assert (request.source, request.page_size, request.HasField("created_before")) == ("s", 3, False)


def test_a_time_without_a_zone_and_an_unknown_status_are_refused_before_the_call(server, blade) -> None:
    with pytest.raises(ValueError, match="time zone"):
        blade.list_jobs(created_after=datetime(2024, 1, 10))  # noqa: DTZ001
    with pytest.raises(ValueError, match="RUNING"):
        blade.list_jobs(statuses=["RUNING"])
    assert server.requests == []
