"""What is deleted when, in small steps, and what must not be deleted."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from tests.support.access import called

from blade_server.core.jobs.pruner import Pruner
from blade_server.errors import NotFound, Precondition
from blade_server.model import NewJob, Status
from blade_server.storage.database import Database
from blade_server.storage.retention import PRUNE_LOCK, Retention

BAD = ["MAINT-3", "MAINT-4"]


def count(world, table: str) -> int:
    with world.database.begin() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def prune_all(retention: Retention) -> int:
    steps = 0
    while retention.prune(older_than_s=0):
        steps += 1
    return steps


def failed_job(world, ended, count: int = 2):
    world.catalog.set_faults(reject_ids=[f"MAINT-{number}" for number in range(count)])
    done = ended(world, world.begin())
    assert done.error_count == count
    world.catalog.clear_faults()
    return done


def test_a_job_is_kept_until_its_retry_has_ended(make_world, ended):
    world = make_world(100)
    runner = world.runner()
    parent = failed_job(world, ended)
    runner.stop(5)
    child = world.jobs.retry_failed(parent.job_id, by=called("x"))
    retention = Retention(world.database)
    assert prune_all(retention) == 0
    world.runner()
    done = ended(world, child)
    assert (done.status, done.success_count, done.skipped_count) == (Status.COMPLETED, 2, 0)
    assert prune_all(retention) == 1
    assert world.jobs.show.list()[0] == []


def test_errors_and_history_go_slice_by_slice_and_the_job_last(make_world, ended):
    world = make_world(100)
    world.runner()
    parent = failed_job(world, ended, 25)
    retention = Retention(world.database, slice_rows=10)
    assert retention.prune(older_than_s=0)
    assert count(world, "job_item_error") == 15
    # From here on it cannot be retried: a part of its errors is gone.
    with pytest.raises((Precondition, NotFound)):
        world.jobs.retry_failed(parent.job_id, by=called("x"))
    assert prune_all(retention) == 2
    assert [count(world, table) for table in ("job", "job_item_error", "job_event", "job_error_count")] == [0] * 4


def test_a_retry_that_comes_while_its_parent_is_being_pruned_is_refused(make_world, ended):
    world = make_world(100)
    world.runner()
    parent = failed_job(world, ended, 25)
    Retention(world.database, slice_rows=10).prune(older_than_s=0)
    child = NewJob(
        job_id="job-child",
        spec=parent.spec,
        source=parent.source,
        statement="SELECT 1",
        parent_job_id=parent.job_id,
    )
    with pytest.raises(NotFound, match=parent.job_id):
        world.new_jobs.add(child, by=called("x"))


def test_the_ledger_of_a_job_goes_when_it_has_ended_and_not_before(make_world, ended, reaches):
    world = make_world(1000)
    world.runner()
    retention = Retention(world.database, slice_rows=3)
    job = reaches(world, world.begin(items_per_second=500), lambda job: job.success_count)
    assert not retention.drop_ledgers()
    ended(world, job)
    assert count(world, "job_block") == 10
    steps = 0
    while retention.drop_ledgers():
        steps += 1
    assert steps == 4
    assert count(world, "job_block") == 0


def test_one_replica_at_a_time_prunes(make_world, ended):
    world = make_world(10)
    world.runner()
    ended(world, world.begin())
    retention = Retention(world.database)
    with world.runners_own.begin() as other_replica:
        other_replica.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": PRUNE_LOCK})
        assert not retention.drop_ledgers()
        assert not retention.prune(older_than_s=0)
    assert retention.prune(older_than_s=0)


def test_the_pruner_does_both_without_being_asked(make_world, ended, wait_until):
    world = make_world(10)
    world.runner()
    ended(world, world.begin())
    pruner = Pruner(Retention(world.database), older_than_s=0)
    pruner.start()
    wait_until(lambda: count(world, "job") == 0)
    pruner.stop()


def test_a_pruner_that_cannot_prune_says_so_in_one_line(wait_until, caplog):
    database = Database("postgresql://x@127.0.0.1:1/x")
    pruner = Pruner(Retention(database), older_than_s=0)
    pruner.start()
    wait_until(lambda: "pruning goes on in" in caplog.text)
    pruner.stop()
    database.close()
    said = next(entry.getMessage() for entry in caplog.records if "pruning" in entry.getMessage())
    assert "PostgreSQL" in said
    assert "\n" not in said
