"""Snapshots are serialised once for all watchers, and forgotten with the job they were made of."""

from __future__ import annotations

import gc
from datetime import UTC, datetime

from blade.v1 import job_service_pb2
from blade_server.model import Classification, Job, JobSpec, RowMapping, Source, SourceConfig, Status
from blade_server.rpc.job_service import HEARTBEAT, Serialised

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def a_job(revision: int) -> Job:
    source = Source(
        name="parts",
        display_name="Parts",
        data_type="maintenance",
        enabled=True,
        config=SourceConfig(catalog="main", schema="blade", table="parts"),
        mapping=RowMapping(item_id="{id}", classification=Classification(value="UNCLASS")),
    )
    return Job(
        job_id="job-1",
        status=Status.RUNNING,
        spec=JobSpec(sql="SELECT 1", source="parts", data_type="maintenance"),
        source=source,
        create_time=NOW,
        update_time=NOW,
        revision=revision,
    )


def test_one_job_is_serialised_once() -> None:
    snapshots, job = Serialised(job_service_pb2.WatchJobResponse), a_job(3)

    first = snapshots.serialised(job)

    assert snapshots.serialised(job) is first
    assert job_service_pb2.WatchJobResponse.FromString(first).job.revision == 3


def test_a_heartbeat_is_the_same_snapshot_with_its_mark() -> None:
    snapshot = Serialised(job_service_pb2.WatchJobResponse).serialised(a_job(3))

    again = job_service_pb2.WatchJobResponse.FromString(snapshot + HEARTBEAT)

    assert (again.job.revision, again.heartbeat) == (3, True)


def test_bytes_do_not_outlive_their_job_and_never_stand_for_another() -> None:
    snapshots = Serialised(job_service_pb2.WatchJobResponse)

    for revision in range(1000):  # freed objects leave their address to the next
        sent = job_service_pb2.WatchJobResponse.FromString(snapshots.serialised(a_job(revision)))
        assert sent.job.revision == revision
    gc.collect()

    assert not snapshots._bytes
