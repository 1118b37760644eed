from __future__ import annotations

import threading
import time

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details

from blade.v1 import config_service_pb2 as config
from blade.v1 import ingest_service_pb2 as ingest
from blade.v1 import job_service_pb2 as jobs
from blade.v1.cost_pb2 import ListSourceCostsResponse
from blade.v1.job_pb2 import ItemError, Job
from blade.v1.source_pb2 import Source
from blade_client import BladeClient, errors

Code = grpc.StatusCode
AWAY = (Code.UNAVAILABLE, "connection lost")


@pytest.mark.parametrize(
    ("rpc", "call", "answer"),
    [
        ("AddSource", lambda b: b.add_source(Source(name="x")), config.AddSourceResponse()),
        ("StartQueryJob", lambda b: b.start_query_job("SELECT 1"), jobs.StartQueryJobResponse()),
        ("RetryFailedItems", lambda b: b.retry_failed("job-1"), jobs.RetryFailedItemsResponse()),
    ],
)
def test_a_creating_call_is_repeated_with_the_same_request_id_until_the_server_is_back(
    server, blade, rpc, call, answer
) -> None:
    server.on(rpc, server.fails(*AWAY), server.fails(*AWAY), answer)
    call(blade)
    ids = [request.request_id for request in server.asked(rpc)]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert ids[0]
    call(blade)
    assert server.asked(rpc)[-1].request_id != ids[0], "another call has another id"


def test_a_request_id_of_the_callers_own_is_kept(server, blade) -> None:
    server.on("StartQueryJob", jobs.StartQueryJobResponse())
    blade.start_query_job("SELECT 1", request_id="mine")
    assert server.asked("StartQueryJob")[0].request_id == "mine"


@pytest.mark.parametrize(
    ("rpc", "call"),
    [
        ("UpdateSource", lambda b: b.update_source(Source(name="x"))),
        ("RemoveSource", lambda b: b.remove_source("x")),
    ],
)
def test_a_call_that_cannot_be_repeated_is_made_once(server, blade, rpc, call) -> None:
    server.on(rpc, server.fails(*AWAY))
    with pytest.raises(errors.Unreachable):
        call(blade)
    assert len(server.asked(rpc)) == 1


@pytest.mark.parametrize(
    ("rpc", "call", "answer"),
    [
        ("GetSource", lambda b: b.get_source("x"), config.GetSourceResponse()),
        ("ListSources", lambda b: list(b.list_sources()), config.ListSourcesResponse()),
        ("TestSource", lambda b: b.test_source("x"), config.TestSourceResponse()),
        ("ListSourceCosts", lambda b: list(b.list_source_costs()), ListSourceCostsResponse()),
        ("IngestItem", lambda b: b.ingest_item("m", "1"), ingest.IngestItemResponse()),
        ("PreviewItems", lambda b: b.preview_items("SELECT 1"), jobs.PreviewItemsResponse()),
        ("GetJob", lambda b: b.get_job("1"), jobs.GetJobResponse()),
        ("ListJobs", lambda b: list(b.list_jobs()), jobs.ListJobsResponse()),
        ("PauseJob", lambda b: b.pause("1"), jobs.PauseJobResponse()),
        ("ResumeJob", lambda b: b.resume("1"), jobs.ResumeJobResponse()),
        ("CancelJob", lambda b: b.cancel("1"), jobs.CancelJobResponse()),
        ("UpdateJobLimits", lambda b: b.update_limits("1"), jobs.UpdateJobLimitsResponse()),
        ("ListItemErrors", lambda b: list(b.item_errors("1")), jobs.ListItemErrorsResponse()),
    ],
)
def test_reading_and_controlling_calls_are_repeated_while_the_server_is_away(server, blade, rpc, call, answer) -> None:
    server.on(rpc, server.fails(*AWAY), answer)
    call(blade)
    assert len(server.asked(rpc)) == 2


@pytest.mark.parametrize(
    "failure",
    [
        (Code.UNAVAILABLE, "the warehouse is down", "WAREHOUSE_UNAVAILABLE"),
        (Code.UNAVAILABLE, "the catalog is down", "CATALOG_UNAVAILABLE"),
        (Code.INTERNAL, "a bug", "INTERNAL"),
        (Code.RESOURCE_EXHAUSTED, "too many", "QUOTA_EXCEEDED"),
    ],
)
def test_an_error_that_trying_again_at_once_cannot_mend_is_told_at_once(server, blade, failure) -> None:
    server.on("GetJob", server.fails(*failure))
    with pytest.raises(errors.BladeClientError):
        blade.get_job("1")
    assert len(server.asked("GetJob")) == 1


def test_a_stopping_server_is_asked_again_no_sooner_than_it_says(server, blade) -> None:
    wait = details.RetryInfo(retry_delay=Duration(nanos=700_000_000))
    server.on("GetJob", server.fails(Code.UNAVAILABLE, "stopping", "SHUTTING_DOWN", wait), jobs.GetJobResponse())
    began = time.monotonic()
    blade.get_job("1")
    assert time.monotonic() - began >= 0.7
    assert len(server.asked("GetJob")) == 2


def test_a_server_that_is_never_there_is_given_up_after_the_attempts(server) -> None:
    server.stop()
    with BladeClient(server.target, attempts=2) as blade, pytest.raises(errors.Unreachable) as caught:
        blade.get_job("1")
    assert server.target in caught.value.message


def test_the_time_limit_covers_all_attempts_together(server) -> None:
    server.on("GetJob", server.fails(*AWAY))
    began = time.monotonic()
    too_late = pytest.raises((errors.Unreachable, errors.DeadlineExceeded))
    with BladeClient(server.target, attempts=1000, timeout_s=1.0) as blade, too_late:
        blade.get_job("1")
    assert time.monotonic() - began < 5


def test_a_server_that_does_not_answer_in_time_is_a_deadline_error(server) -> None:
    server.on("GetJob", lambda request, context: server.left.wait(30) or jobs.GetJobResponse())
    with BladeClient(server.target, timeout_s=0.3) as blade, pytest.raises(errors.DeadlineExceeded):
        blade.get_job("1")
    server.left.set()


def test_the_caller_and_further_metadata_are_sent_with_every_call(server) -> None:
    server.on("GetJob", jobs.GetJobResponse())
    server.on("WatchJob", [jobs.WatchJobResponse(job=Job(status=Job.COMPLETED))])
    with BladeClient(server.target, actor="Jörg\nK", metadata=[("x-trace", "7")], token="t0ken") as blade:
        for call in (lambda: blade.get_job("1"), lambda: list(blade.watch_job("1"))):
            server.metadata = {}
            call()
            assert server.metadata["blade-actor"] == "J?rg?K", "gRPC carries printable ASCII only"
            assert server.metadata["x-trace"] == "7"
            assert server.metadata["authorization"] == "Bearer t0ken"


def test_without_an_actor_the_user_and_host_are_sent(server) -> None:
    server.on("GetJob", jobs.GetJobResponse())
    with BladeClient(server.target) as blade:
        blade.get_job("1")
    user, _, host = server.metadata["blade-actor"].partition("@")
    assert user
    assert host


def test_listing_reads_page_after_page_and_only_as_far_as_it_is_read(server, blade) -> None:
    server.on(
        "ListItemErrors",
        jobs.ListItemErrorsResponse(errors=[ItemError(item_id="a"), ItemError(item_id="b")], next_page_token="t1"),
        jobs.ListItemErrorsResponse(next_page_token="t2"),
        jobs.ListItemErrorsResponse(errors=[ItemError(item_id="c")]),
    )
    found = blade.item_errors("job-1", page_size=2)
    assert next(found).item_id == "a"
    assert len(server.requests) == 1
    assert [error.item_id for error in found] == ["b", "c"]
    assert [request.page_token for request in server.asked("ListItemErrors")] == ["", "t1", "t2"]
    assert {request.page_size for request in server.asked("ListItemErrors")} == {2}


def test_limits_that_are_left_out_are_sent_as_unset(server, blade) -> None:
    server.on("UpdateJobLimits", jobs.UpdateJobLimitsResponse())
    blade.update_limits("job-1", max_errors=0, reason="why")
    (request,) = server.asked("UpdateJobLimits")
    assert request.limits.HasField("max_errors")
    assert request.limits.max_errors == 0
    assert not request.limits.HasField("max_error_share")
    assert request.reason == "why"


def test_an_update_without_fields_sends_no_mask(server, blade) -> None:
    server.on("UpdateSource", config.UpdateSourceResponse())
    blade.update_source(Source(name="x", display_name="y"))
    blade.update_source(Source(name="x"), fields=["mapping.metadata"])
    first, second = server.asked("UpdateSource")
    assert not first.HasField("update_mask")
    assert list(second.update_mask.paths) == ["mapping.metadata"]


def test_a_closed_client_says_so(server) -> None:
    blade = BladeClient(server.target)
    blade.close()
    blade.close()
    with pytest.raises(RuntimeError, match="closed"):
        blade.get_job("1")


def test_closing_ends_a_stream_in_another_thread(server, snapshot) -> None:
    server.on("WatchJob", server.until_left(snapshot(1)))
    blade = BladeClient(server.target)
    begun, ended = threading.Event(), []

    def watch() -> None:
        try:
            for _ in blade.watch_job("job-1"):
                begun.set()
        except errors.BladeClientError as error:
            ended.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert begun.wait(10)
    blade.close()
    watcher.join(10)
    assert not watcher.is_alive()
    assert [type(error) for error in ended] == [errors.Cancelled]
    assert server.left.wait(10), "the server learns of it"


def test_threads_share_a_client(server, blade) -> None:
    server.on("GetJob", lambda request, context: jobs.GetJobResponse(job=Job(job_id=request.id)))
    found: list[str] = []
    threads = [threading.Thread(target=lambda n=n: found.append(blade.get_job(str(n)).job_id)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found, key=int) == [str(n) for n in range(20)]
