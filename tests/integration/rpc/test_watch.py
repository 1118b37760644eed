"""WatchJob over the wire; how the feed keeps its timetable is in tests/unit/core/jobs/test_watch.py."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import error_details_pb2
from tests.support.nouns import JOB_ID, a_job

from blade.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from blade_server.model import Status

from .conftest import TIMEOUT_S, Details, RpcWorld, failure


def watch(world: RpcWorld, job_id: str = JOB_ID, interval_s: float = 0.2, **options: Any) -> Any:
    request = job_service_pb2.WatchJobRequest(job_id=job_id)
    request.min_interval.FromMilliseconds(int(interval_s * 1000))
    return job_service_pb2_grpc.JobServiceStub(world.channel).WatchJob(request, timeout=TIMEOUT_S, **options)


def test_a_final_job_is_one_message_and_ok(world: RpcWorld) -> None:
    world.store(a_job(status=Status.FAILED))

    [only] = watch(world)

    assert only.job.status == job_pb2.Job.FAILED
    assert not only.heartbeat


def test_snapshots_follow_the_rings_until_the_final_one(world: RpcWorld) -> None:
    world.store(a_job(revision=1, success_count=1))
    call = watch(world)
    seen = [next(call).job]

    world.store(a_job(revision=2, success_count=2, skipped_count=5))
    seen.append(next(call).job)
    world.store(a_job(revision=3, success_count=3, status=Status.COMPLETED))
    seen += [message.job for message in call]

    assert [job.success_count for job in seen] == [1, 2, 3]
    assert seen[1].processed_items == 7
    assert call.code() is grpc.StatusCode.OK


def test_silence_brings_the_last_snapshot_again_marked_as_heartbeat(world: RpcWorld) -> None:
    world.store(a_job(success_count=7))
    call = watch(world)
    first = next(call)

    second = next(call)

    assert (first.heartbeat, second.heartbeat) == (False, True)
    assert second.job == first.job


def test_many_watchers_get_the_same_snapshots_converted_once(world: RpcWorld) -> None:
    world.store(a_job())
    calls = [watch(world) for _ in range(50)]
    first = {next(call).job.revision for call in calls}

    world.store(a_job(revision=2, status=Status.CANCELLED))

    assert first == {1}
    # To subscribe all of them may take longer than the silence that a heartbeat breaks.
    newer = [[message.job.revision for message in call if not message.heartbeat] for call in calls]
    assert newer == [[2]] * 50


def test_an_unknown_job_is_not_found(world: RpcWorld) -> None:
    seen = failure(lambda: list(watch(world, job_id="job-nobody")))

    assert seen.code() is grpc.StatusCode.NOT_FOUND
    assert "job-nobody" in seen.details()


def test_a_stopping_server_tells_its_watchers_to_come_back(world: RpcWorld) -> None:
    world.store(a_job())
    call = watch(world)
    next(call)

    world.run(world.feed.close())
    seen = failure(lambda: list(call))

    assert seen.code() is grpc.StatusCode.UNAVAILABLE
    details = Details(seen)
    assert details.info.reason == "SHUTTING_DOWN"
    assert details.of(error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() > 0


def test_a_watcher_that_leaves_gives_its_place_back(make_world: Any) -> None:
    world = make_world(max_watchers=1)
    world.store(a_job())
    first = watch(world)
    next(first)
    refused = failure(lambda: next(watch(world)))

    first.cancel()
    world.run(world.server._drain.idle())

    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert Details(refused).of(error_details_pb2.QuotaFailure).violations[0].subject == "watchers"
    assert next(watch(world)).job.job_id == JOB_ID
