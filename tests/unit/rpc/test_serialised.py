"""Snapshots are serialised once for all watchers, and forgotten with the job they were made of."""

from __future__ import annotations

import gc

from tests.support.nouns import a_job

from blade.v1 import job_service_pb2
from blade_server.rpc.job_service import HEARTBEAT, Serialised


def test_one_job_is_serialised_once() -> None:
    snapshots, job = Serialised(job_service_pb2.WatchJobResponse), a_job(revision=3)

    first = snapshots.serialised(job, whole=True)

    assert snapshots.serialised(job, whole=True) is first
    assert job_service_pb2.WatchJobResponse.FromString(first).job.revision == 3


def test_a_heartbeat_is_the_same_snapshot_with_its_mark() -> None:
    snapshot = Serialised(job_service_pb2.WatchJobResponse).serialised(a_job(revision=3), whole=True)

    again = job_service_pb2.WatchJobResponse.FromString(snapshot + HEARTBEAT)

    assert (again.job.revision, again.heartbeat) == (3, True)


def test_bytes_do_not_outlive_their_job_and_never_stand_for_another() -> None:
    snapshots = Serialised(job_service_pb2.WatchJobResponse)

    for revision in range(1000):  # freed objects leave their address to the next
        sent = job_service_pb2.WatchJobResponse.FromString(snapshots.serialised(a_job(revision=revision), whole=True))
        assert sent.job.revision == revision
    gc.collect()

    assert not snapshots._whole


def test_whoever_may_not_read_rows_gets_bytes_of_his_own() -> None:
    snapshots, job = Serialised(job_service_pb2.WatchJobResponse), a_job(error_message="the row has 'secret'")

    whole, redacted = (snapshots.serialised(job, whole=each) for each in (True, False))

    assert snapshots.serialised(job, whole=False) is redacted
    assert (b"secret" in whole, b"SELECT" in whole) == (False, True)  # no error without its reason
    assert b"SELECT" not in redacted
    assert job_service_pb2.WatchJobResponse.FromString(redacted).job.redacted
    assert not job_service_pb2.WatchJobResponse.FromString(whole).job.redacted
