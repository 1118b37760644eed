"""What PostgreSQL holds and how it fails: claims of servers that died, records, outages, rows nobody can read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.access import called

from blade_server.core.paging import make_token
from blade_server.errors import Invalid, LeaseLost, Precondition, Reason, StorageUnavailable
from blade_server.model import Claim, Display, EventKind, ItemError, JobLimits, Record, Stage, Status
from blade_server.storage.database import Database
from blade_server.storage.engine.leases import MAX_DEATHS
from blade_server.storage.sources import SourceStore


def errors(count: int) -> list[tuple[bytes, ItemError]]:
    error = ItemError(item_id="x", stage=Stage.TRANSFORM, reason=Reason.MISSING_ITEM_ID, message="m", row_json="{}")
    return [(os.urandom(16), error) for _ in range(count)]


def record(number: int, failed: int) -> Record:
    return Record(number=number, error=failed, errors=errors(failed), display=Display())


def dies(world: Any, job_id: str) -> None:
    """The lease of the job runs out."""
    run(world.database, "UPDATE job SET lease_until = now() - interval '1 s' WHERE job_id = :id", id=job_id)


def run(database: Database, statement: str, **values: object) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), values)


def count(database: Database, table: str) -> int:
    with database.begin() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


# ------------------------------------------------------------------------------------------------------- records


def test_a_record_that_writes_many_errors_holds_up_no_beat(make_world):
    world = make_world(10)
    world.begin()
    claim = world.leases.claim_next("me", 100)
    recording = threading.Thread(target=world.records.record, args=(claim, record(1, 100)), daemon=True)
    with world.database.begin() as slow:  # as long as this lasts no error can be written
        slow.execute(text("LOCK TABLE job_item_error IN SHARE MODE"))
        recording.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'job_item_error'::regclass"
        while not slow.execute(text(waiting)).scalar_one():
            assert recording.is_alive()
        with world.runners_own.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            connection.execute(
                text("UPDATE job SET lease_until = lease_until WHERE job_id = :id"), {"id": claim.job_id}
            )
    recording.join(10)
    assert world.store.get(claim.job_id).error_count == 100


def test_a_record_that_is_stored_already_adds_nothing_and_one_of_a_lost_claim_neither(make_world):
    world = make_world(10)
    job = world.begin()
    claim = world.leases.claim_next("me", 100)
    first = record(1, 3)
    world.records.record(claim, first)
    assert world.records.record(claim, first).status is Status.RUNNING
    dies(world, job.job_id)
    world.leases.claim_next("another", 100)
    with pytest.raises(LeaseLost):
        world.records.record(claim, record(2, 5))
    assert world.store.get(job.job_id).error_count == 3
    assert count(world.database, "job_item_error") == 3


def test_a_record_of_a_job_that_is_gone_is_a_lost_lease_and_no_bug(make_world):
    world = make_world(10)
    world.begin()
    claim = world.leases.claim_next("me", 100)
    run(world.database, "DELETE FROM job")
    with pytest.raises(LeaseLost):
        world.records.record(claim, record(1, 5))


# ------------------------------------------------------------------------------------------------------- outages


def test_no_error_carries_the_values_of_a_statement(make_world, caplog):
    world = make_world(10)
    with pytest.raises(StorageUnavailable) as raised, world.database.begin() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pg_backend_pid()), CAST(:row AS text)"), {"row": "TOP SECRET words"}
        )
    assert "TOP SECRET" not in f"{caplog.text} {raised.value.__cause__}"


def test_an_outage_is_logged_once_in_one_line(caplog):
    nowhere = Database("postgresql://x@127.0.0.1:1/x")
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            nowhere.max_connections()
    nowhere.close()
    (said,) = [entry.getMessage() for entry in caplog.records if entry.name.endswith("database")]
    assert "refused" in said
    assert "\n" not in said


@contextmanager
def read_only(database: Database) -> Iterator[None]:
    """As a server is after a failover to another."""
    with database.begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
    try:
        run(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        database.engine.dispose()
        run_aside(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        yield
    finally:
        run_aside(database, f"ALTER DATABASE {name} RESET default_transaction_read_only")


def run_aside(database: Database, statement: str) -> None:
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.exec_driver_sql(statement + " AND datname = current_database()" * ("WHERE" in statement))
        connection.invalidate()


def test_a_server_that_takes_no_writes_is_left_for_one_that_does(make_world, ended, reaches):
    world = make_world(3000)
    world.runner()
    job = reaches(world, world.begin(items_per_second=1000), lambda job: job.success_count)
    one, aside = Database(world.database.url, pool_size=1), Database(world.database.url)
    with read_only(aside):
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                run(one, "UPDATE job SET create_time = create_time")
    run(one, "UPDATE job SET create_time = create_time")
    world.database.engine.dispose()  # this test is no caller that calls again
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 3000), done.error_message
    one.close()
    aside.close()


# ---------------------------------------------------------------------------------------- claims of dead servers


def claimed(world: Any, owner: str) -> Claim:
    claim = world.leases.claim_next(owner, 100)
    assert claim is not None
    return claim


def test_a_job_that_kills_every_server_that_runs_it_fails_in_the_end(make_world):
    world = make_world(10)
    job = world.begin()
    for number in range(MAX_DEATHS):
        claimed(world, f"victim-{number}")
        dies(world, job.job_id)
    assert world.leases.claim_next("me", 100) is None
    failed = world.store.get(job.job_id)
    assert (failed.status, failed.error_reason) == (Status.FAILED, Reason.INTERNAL)
    last = f"died {MAX_DEATHS} times without progress, victim-{MAX_DEATHS - 1} last"
    assert last in failed.error_message
    assert failed.history[-1].kind is EventKind.FAILED


def test_a_job_goes_on_through_any_number_of_deaths_with_progress_or_a_hand_over_between(make_world):
    world = make_world(10)
    job = world.begin()
    for number in range(1, 2 * MAX_DEATHS):
        claim = claimed(world, "victim")
        world.records.record(claim, Record(number=number, success=1, display=Display()))
        dies(world, job.job_id)
    for _ in range(2 * MAX_DEATHS):
        world.claims.release(claimed(world, "stopping"), "its server was stopping")
    assert world.store.get(job.job_id).status is Status.RUNNING


def test_records_that_only_change_the_display_are_no_progress(make_world):
    world = make_world(10)
    job = world.begin()
    for number in range(1, MAX_DEATHS + 1):
        world.records.record(
            claimed(world, "victim"), Record(number=number, display=Display(current_operation=f"{number}"))
        )
        dies(world, job.job_id)
    assert world.leases.claim_next("me", 100) is None
    assert world.store.get(job.job_id).status is Status.FAILED


def test_a_lost_job_goes_first_and_one_that_killed_twice_last(make_world):
    world = make_world(10)
    job = world.begin()
    claimed(world, "victim-1")
    others = [world.begin().job_id for _ in range(2)]
    dies(world, job.job_id)
    assert claimed(world, "victim-2").job_id == job.job_id
    dies(world, job.job_id)
    assert [claimed(world, "me").job_id for _ in range(3)] == [*others, job.job_id]


def test_a_cancel_asked_of_a_dead_server_is_done_however_often_it_died(make_world, ended):
    world = make_world(10)
    job = world.begin()
    for _ in range(MAX_DEATHS + 1):
        world.leases.claim_next("victim", 100)
        world.control.cancel(job.job_id, by=called("x"), reason="")
        dies(world, job.job_id)
    world.runner()
    assert ended(world, job).status is Status.CANCELLED


def test_a_job_whose_row_cannot_be_read_fails_and_the_next_one_runs(make_world):
    world = make_world(10)
    broken = world.begin()
    run(world.database, "UPDATE job SET spec = spec - 'sql'")
    fine = world.begin()
    assert claimed(world, "me").job_id == fine.job_id
    with world.database.begin() as connection:
        query = text("SELECT status, error_message FROM job WHERE job_id = :id")
        status, message = connection.execute(query, {"id": broken.job_id}).one()
    assert status == "FAILED"
    assert "cannot be read by this version" in message


def test_what_a_newer_replica_stored_is_read_by_an_older_one(make_world):
    world = make_world(10)
    job = world.begin()
    more = "'{\"newer\": 1}'::jsonb"
    run(
        world.database,
        f"""UPDATE job SET plan = plan || {more},
            spec = jsonb_set(spec || {more}, '{{limits,newer}}', '1'),
            source_json = jsonb_set(source_json || {more}, '{{config,newer}}', '1')""".replace(":", "\\:"),
    )
    claim = claimed(world, "me")
    assert claim.job.spec == job.spec
    assert world.leases.beat("me", [claim], 100)[job.job_id].limits == job.spec.limits


# ------------------------------------------------------------------------------------------------ what is stored


def test_words_with_a_nul_are_stored(make_world):
    world = make_world(10)
    job = world.begin()
    claim = claimed(world, "me")
    world.records.record(claim, Record(number=1, success=1, display=Display(wait_detail="a\0b")))
    world.claims.finish(claim, Status.FAILED, operation="Failed", error=Reason.INTERNAL, message="a\0b")
    failed = world.store.get(job.job_id)
    assert (failed.error_message, failed.history[-1].detail) == ("a\N{SYMBOL FOR NULL}b",) * 2


def test_the_same_limits_again_leave_no_entry_in_the_history(make_world):
    world = make_world(10)
    job = world.begin()
    for _ in range(3):
        world.jobs.control.update_limits(job.job_id, JobLimits(max_errors=3), by=called("x"))
    kinds = [event.kind for event in world.store.get(job.job_id).history]
    assert kinds.count(EventKind.LIMITS_CHANGED) == 1


@pytest.mark.parametrize("after", ["99999999999999999999", "-2", "x", "1\0"])
def test_a_forged_token_of_errors_is_refused(make_world, after):
    world = make_world(10)
    job_id = world.begin().job_id
    with pytest.raises(Invalid, match="page_token"):
        world.jobs.show.errors(job_id, page_token=make_token(after, scope=f"errors\0{job_id}"))


def test_a_forged_token_of_jobs_is_refused(make_world):
    world = make_world(10)
    with pytest.raises(Invalid, match="page_token"):
        world.jobs.show.list(page_token=make_token("job-\0", scope="jobs\0[]\0\0None\0None"))


def test_a_retry_is_repeated_after_its_parent_was_pruned(make_world, ended):
    world = make_world(100)
    world.runner()
    world.catalog.set_faults(reject_ids=["MAINT-3"])
    done = ended(world, world.begin())
    again = world.jobs.retry_failed(done.job_id, request_id="retry", by=called("x"))
    ended(world, again)
    run(world.database, "DELETE FROM job WHERE job_id = :id", id=done.job_id)
    assert world.jobs.retry_failed(done.job_id, request_id="retry", by=called("x")).job_id == again.job_id


def test_a_start_is_repeated_after_its_source_was_switched_off(make_world):
    world = make_world(10)
    job = world.begin(request_id="r")
    source = world.sources.get("blade-maintenance")
    SourceStore(world.database).update(replace(source, enabled=False), source.etag, by=called())
    assert world.begin(request_id="r").job_id == job.job_id
    with pytest.raises(Invalid, match="request_id"):
        world.begin(request_id="r", batch_size=7)
    with pytest.raises(Precondition):
        world.begin(request_id="another")
