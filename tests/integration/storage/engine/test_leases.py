"""A job of a newer release waits for a newer server; any server shows and cancels it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from tests.support.access import called
from tests.support.nouns import a_source, a_spec

from blade_server.model import Job, NewJob, Status, WaitReason
from blade_server.model.access import Scope
from blade_server.storage.database import Database
from blade_server.storage.engine.leases import LEVEL, Leases
from blade_server.storage.jobs.control import JobControl
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.sources import SourceStore

SOURCE = a_source()


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    SourceStore(database).add(SOURCE, by=called(), request_id="", request_hash="")
    yield database
    database.close()


def stored(database: Database, job_id: str, level: int) -> Job:
    new = NewJob(job_id=job_id, spec=a_spec(), source=SOURCE, statement="SELECT 1")
    job = NewJobs(database, max_open=9).add(new, by=called("tester"))
    set_level(database, job_id, level)
    return job


def set_level(database: Database, job_id: str, level: int) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE job SET level = :level WHERE job_id = :id"), {"level": level, "id": job_id})


def claimed(database: Database) -> str | None:
    claim = Leases(database).claim_next("this server", 10.0)
    return claim and claim.job_id


def test_a_job_of_a_higher_level_is_passed_over_and_stays_as_it_was(database) -> None:
    newer, older = stored(database, "job-1", LEVEL + 1), stored(database, "job-2", LEVEL)

    assert claimed(database) == older.job_id
    assert claimed(database) is None

    left = JobStore(database).get(newer.job_id)
    assert (left.status, left.wait_reason, left.revision) == (Status.PENDING, WaitReason.QUEUED, newer.revision)
    assert [event.kind.value for event in left.history] == ["CREATED"]


def test_a_server_of_that_level_takes_it(database) -> None:
    stored(database, "job-1", LEVEL + 1)
    assert claimed(database) is None
    set_level(database, "job-1", LEVEL)  # as if this server had become the newer one
    assert claimed(database) == "job-1"


def test_a_job_of_a_higher_level_whose_server_died_is_left_to_another_of_its_kind(database) -> None:
    stored(database, "job-1", LEVEL)
    assert claimed(database) == "job-1"
    with database.begin() as connection:
        connection.execute(text("UPDATE job SET lease_until = now() - interval '1 s', owner = 'a newer server'"))
    set_level(database, "job-1", LEVEL + 1)

    assert claimed(database) is None
    left = JobStore(database).get("job-1")
    assert (left.status, left.wait_reason) == (Status.RUNNING, WaitReason.RECOVERING)


def test_a_job_of_a_higher_level_is_listed_and_cancelled_as_any(database) -> None:
    stored(database, "job-1", LEVEL + 1)
    assert [
        job.job_id for job in JobStore(database).page(limit=9, statuses=[Status.PENDING], seen=Scope(all=True))
    ] == ["job-1"]
    assert JobControl(database).cancel("job-1", by=called("tester"), reason="").status is Status.CANCELLED
