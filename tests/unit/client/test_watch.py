from __future__ import annotations

import threading
import time

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details

from blade.v1.job_pb2 import Job
from blade_client import BladeClient, errors

Code = grpc.StatusCode


def revisions(jobs) -> list[int]:
    return [job.revision for job in jobs]


def test_a_watch_brings_each_newer_state_and_ends_after_the_final_one(server, blade, snapshot) -> None:
    server.on("WatchJob", [snapshot(1), snapshot(4), snapshot(10, "COMPLETED")])
    seen = list(blade.watch_job("job-1", min_interval_s=0.25))
    assert revisions(seen) == [1, 4, 10]
    assert seen[-1].status == Job.COMPLETED
    (request,) = server.asked("WatchJob")
    assert (request.job_id, request.min_interval) == ("job-1", Duration(nanos=250_000_000))


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED"])
def test_a_job_that_is_final_already_brings_one_snapshot(server, blade, snapshot, status) -> None:
    server.on("WatchJob", [snapshot(7, status)])
    assert revisions(blade.watch_job("job-1")) == [7]


def test_repeats_are_left_out_unless_asked_for(server, blade, snapshot) -> None:
    stream = [snapshot(1), snapshot(1, heartbeat=True), snapshot(2), snapshot(3, "COMPLETED")]
    server.on("WatchJob", stream)
    assert revisions(blade.watch_job("job-1")) == [1, 2, 3]
    assert revisions(blade.watch_job("job-1", repeats=True)) == [1, 1, 2, 3]


def test_a_broken_stream_is_made_again_and_nothing_comes_twice(server, blade, snapshot) -> None:
    away = server.fails(Code.UNAVAILABLE, "lost")
    server.on(
        "WatchJob",
        server.then_fails([snapshot(1), snapshot(3)], away),
        away,
        away,
        server.then_fails([snapshot(3)], away),
        [snapshot(3), snapshot(5), snapshot(9, "COMPLETED")],
    )
    told: list[tuple[type, float]] = []
    seen = list(blade.watch_job("job-1", on_reconnect=lambda error, wait_s: told.append((type(error), wait_s))))
    assert revisions(seen) == [1, 3, 5, 9]
    assert [kind for kind, _ in told] == [errors.Unreachable] * 4
    assert all(0.1 <= wait_s <= 1 for _, wait_s in told)


def test_a_stream_that_ends_before_the_job_is_made_again(server, blade, snapshot) -> None:
    server.on("WatchJob", [snapshot(1)], [snapshot(2, "COMPLETED")])
    assert revisions(blade.watch_job("job-1")) == [1, 2]


def test_a_restarted_server_is_found_again(server, blade, snapshot) -> None:
    server.on("WatchJob", server.until_left(snapshot(1)))
    seen: list[int] = []
    begun = threading.Event()

    def watch() -> None:
        for job in blade.watch_job("job-1"):
            seen.append(job.revision)
            begun.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert begun.wait(10)
    server.stop()
    server.on("WatchJob", [snapshot(2, "COMPLETED")])
    server.start()
    watcher.join(30)
    assert not watcher.is_alive()
    assert seen == [1, 2]


def test_a_stopping_server_is_left_alone_for_as_long_as_it_asks(server, blade, snapshot) -> None:
    wait = details.RetryInfo(retry_delay=Duration(nanos=800_000_000))
    stopping = server.fails(Code.UNAVAILABLE, "stopping", "SHUTTING_DOWN", wait)
    server.on("WatchJob", server.then_fails([snapshot(1)], stopping), [snapshot(2, "COMPLETED")])
    began = time.monotonic()
    assert revisions(blade.watch_job("job-1")) == [1, 2]
    assert time.monotonic() - began >= 0.8


def test_a_full_server_is_waited_for_by_a_watcher_that_was_in(server, blade, snapshot) -> None:
    wait = details.RetryInfo(retry_delay=Duration(nanos=100_000_000))
    full = server.fails(Code.RESOURCE_EXHAUSTED, "too many watchers", "QUOTA_EXCEEDED", wait)
    server.on(
        "WatchJob",
        server.then_fails([snapshot(1)], server.fails(Code.UNAVAILABLE, "lost")),
        full,
        [snapshot(2, "COMPLETED")],
    )
    assert revisions(blade.watch_job("job-1")) == [1, 2]


def test_a_full_server_refuses_a_new_watcher(server, blade) -> None:
    wait = details.RetryInfo(retry_delay=Duration(nanos=100_000_000))
    server.on("WatchJob", server.fails(Code.RESOURCE_EXHAUSTED, "too many", "QUOTA_EXCEEDED", wait))
    with pytest.raises(errors.QuotaExceeded):
        list(blade.watch_job("job-1"))


def test_a_server_that_never_answers_is_given_up_after_the_attempts(server) -> None:
    server.stop()
    told: list[errors.BladeClientError] = []
    with BladeClient(server.target, attempts=3) as blade, pytest.raises(errors.Unreachable):
        list(blade.watch_job("job-1", on_reconnect=lambda error, wait_s: told.append(error)))
    assert len(told) == 2


def test_an_unknown_job_is_told_at_once(server, blade) -> None:
    server.on("WatchJob", server.fails(Code.NOT_FOUND, "no job x", "JOB_NOT_FOUND"))
    with pytest.raises(errors.NotFound):
        list(blade.watch_job("x"))
    assert len(server.requests) == 1


def test_the_time_limit_ends_a_watch_and_says_how_the_job_stands(server, blade, snapshot) -> None:
    server.on("WatchJob", server.until_left(snapshot(3)))
    with pytest.raises(errors.DeadlineExceeded, match=r"still RUNNING after 0\.5 s \(3 items\)"):
        list(blade.watch_job("job-1", timeout_s=0.5))


def test_the_time_limit_covers_the_reconnecting_too(server, blade, snapshot) -> None:
    away = server.fails(Code.UNAVAILABLE, "lost")
    server.on("WatchJob", server.then_fails([snapshot(1)], away), away)
    began = time.monotonic()
    with pytest.raises((errors.Unreachable, errors.DeadlineExceeded)):
        list(blade.watch_job("job-1", timeout_s=1.0))
    assert time.monotonic() - began < 5


def test_a_watcher_that_leaves_ends_the_stream(server, blade, snapshot) -> None:
    server.on("WatchJob", server.until_left(snapshot(1)))
    for _ in blade.watch_job("job-1"):
        break
    assert server.left.wait(10)


def test_wait_returns_the_final_job(server, blade, snapshot) -> None:
    server.on("WatchJob", [snapshot(1), snapshot(5, "FAILED")])
    job = blade.wait("job-1")
    assert (job.status, job.revision) == (Job.FAILED, 5)
