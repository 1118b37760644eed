"""The requests that the methods make, seen on grpcio-testing's fake channel, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc_testing
import pytest

from blade.v1 import config_service_pb2, ingest_service_pb2, job_service_pb2, query_service_pb2
from blade.v1.item_pb2 import Item
from blade.v1.job_pb2 import Job
from blade.v1.source_pb2 import Source
from blade_client import BladeClient, errors

SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module, name in (
        (config_service_pb2, "ConfigService"),
        (query_service_pb2, "QueryService"),
        (ingest_service_pb2, "IngestService"),
        (job_service_pb2, "JobService"),
    )
]
METHODS = {method.name: method for service in SERVICES for method in service.methods}
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


@pytest.fixture
def channel() -> grpc_testing.Channel:
    return grpc_testing.channel(SERVICES, grpc_testing.strict_real_time())


@pytest.fixture
def caller() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize(("rpc", "call", "fields", "answer", "result"), CASES, ids=[case[0] for case in CASES])
def test_a_method_sends_what_it_was_given_and_returns_what_came(
    channel, caller, rpc, call, fields, answer, result
) -> None:
    blade = BladeClient(channel=channel, actor="me")
    pending = caller.submit(call, blade)
    metadata, request, handle = channel.take_unary_unary(METHODS[rpc])
    assert request == type(request)(**fields)
    assert ("blade-actor", "me") in metadata
    handle.send_initial_metadata(())
    handle.terminate(answer, (), grpc.StatusCode.OK, "")
    assert pending.result(10) == result


def test_list_jobs_takes_names_and_values_of_statuses_and_aware_times(channel, caller) -> None:
    blade = BladeClient(channel=channel)
    since = datetime(2024, 1, 10, 15, 30, tzinfo=UTC)
    pending = caller.submit(
        lambda: list(blade.list_jobs(statuses=["RUNNING", Job.PAUSED], source="s", created_after=since, page_size=3))
    )
    _, request, handle = channel.take_unary_unary(METHODS["ListJobs"])
    assert list(request.statuses) == [Job.RUNNING, Job.PAUSED]
    assert request.created_after.ToDatetime(tzinfo=UTC) == since
    assert (request.source, request.page_size, request.HasField("created_before")) == ("s", 3, False)
    handle.send_initial_metadata(())
    handle.terminate(job_service_pb2.ListJobsResponse(jobs=[Job(job_id="j")]), (), grpc.StatusCode.OK, "")
    assert [job.job_id for job in pending.result(10)] == ["j"]


def test_a_time_without_a_zone_and_an_unknown_status_are_refused_before_the_call(channel) -> None:
    blade = BladeClient(channel=channel)
    with pytest.raises(ValueError, match="time zone"):
        blade.list_jobs(created_after=datetime(2024, 1, 10))  # noqa: DTZ001
    with pytest.raises(ValueError, match="RUNING"):
        blade.list_jobs(statuses=["RUNING"])


def test_a_failure_on_the_channel_is_an_error_of_ours(channel, caller) -> None:
    blade = BladeClient(channel=channel)
    pending = caller.submit(blade.get_job, "j")
    _, _, handle = channel.take_unary_unary(METHODS["GetJob"])
    handle.send_initial_metadata(())
    handle.terminate(None, (), grpc.StatusCode.NOT_FOUND, "no such job")
    with pytest.raises(errors.NotFound, match="no such job"):
        pending.result(10)
