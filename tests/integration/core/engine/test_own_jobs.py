"""A server that meets its own job again, and a record that fails for a reason of its own."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from tests.support.waiting import wait_until

from blade_server.errors import Reason
from blade_server.model import Status
from blade_server.storage.engine.records import RecordStore


@pytest.mark.slow
def test_a_server_that_claims_its_own_job_again_leaves_the_first_run(make_world, ended):
    world = make_world(3000)
    world.catalog.set_faults(latency_ms=300)
    world.runner(world.configured(lease_s=60, lease_beat_s=20))
    job = world.begin(workers=1)
    wait_until(lambda: world.store.get(job.job_id).success_count, say=lambda: "nothing is sent")
    with world.database.begin() as connection:  # as after an outage that was longer than the lease
        connection.execute(text("UPDATE job SET lease_until = now() - interval '1 second'"))
    wait_until(lambda: _epoch(world) > 1, say=lambda: "not claimed")
    world.catalog.set_faults()
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 3000)
    wait_until(lambda: not _threads(job.job_id), say=lambda: f"{_threads(job.job_id)} live on")


def _epoch(world) -> int:
    with world.database.read() as connection:
        return connection.execute(text("SELECT max(epoch) FROM job")).scalar_one()


def _threads(job_id: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == f"job {job_id}"]


def test_a_record_that_may_not_be_written_is_no_sign_of_an_older_database(make_world, ended, monkeypatch):
    record, failed = RecordStore.record, []

    def refused_once(self, claim, one):
        if one.success and not failed:
            failed.append(one.number)
            raise ProgrammingError("INSERT", {}, Exception("permission denied"))
        return record(self, claim, one)

    monkeypatch.setattr(RecordStore, "record", refused_once)
    world = make_world(3000)
    world.catalog.set_faults(latency_ms=300)  # others are on their way, whose outcomes are recorded after it
    world.runner()
    job = ended(world, world.begin())
    assert failed
    assert (job.status, job.error_reason) == (Status.FAILED, Reason.INTERNAL)
    with world.database.read() as connection:
        assert not connection.execute(text("SELECT bool_or(doubtful) FROM job")).scalar_one()
