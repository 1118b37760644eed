"""GetJob's quick way: what it says is what JobStore says, never older than the question, and it is never in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from tests.support.access import called
from tests.support.nouns import a_source, a_spec

from blade_server.errors import StorageUnavailable
from blade_server.model import Job, WaitReason
from blade_server.storage import connect
from blade_server.storage.codec import source_document, spec_document
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import Database
from blade_server.storage.jobs import live as live_module
from blade_server.storage.jobs.control import JobControl
from blade_server.storage.jobs.live import LiveJobs
from blade_server.storage.jobs.show import JobStore

TIMEOUT_S = 60.0
JOB_ID = "job-1"

SPEC = a_spec(sql="SELECT 'é' FROM x", metadata={"a": "b"})
_STORE = """
INSERT INTO job (job_id, source, data_type, source_json, spec, plan, status, owner, lease_until, total_items,
        success_count, error_count, items_per_second, current_operation, estimated_completion, revision, create_time,
        start_time, update_time, paused_s)
    SELECT 'job-' || n, 'x', 'x', CAST(:source AS jsonb), CAST(:spec AS jsonb), '{}', 'RUNNING', 'me',
        now() + interval '1 hour', 9000, 7, 10, 12.5, 'Uploading "é"', '2026-02-03 04:05:06.789+02', 3, now(),
        '2026-01-02 03:04:05+00', now(), 1.25
    FROM generate_series(1, 3) AS n;
INSERT INTO job_event (job_id, kind, time, actor, reason, detail)
    SELECT 'job-1', 'LIMITS_CHANGED', now(), 'anna', 'n° ' || n, '' FROM generate_series(1, 150) AS n;
INSERT INTO job_item_error (job_id, key, item_id, stage, reason, message, attempts, row_json, create_time)
    SELECT 'job-1', '', 'item-' || n, 'UPLOAD', CASE WHEN n > 7 THEN 'ITEM_REJECTED' ELSE 'MISSING_ITEM_ID' END, 'm',
        n, '{"a": "\\u00e9"}', now()
    FROM generate_series(1, 10) AS n;
INSERT INTO job_error_count (job_id, reason, items)
    VALUES ('job-1', 'ITEM_REJECTED', 3), ('job-1', 'MISSING_ITEM_ID', 7)
"""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longer than this is left to a thread; here it must not be, however busy the machine is."""
    monkeypatch.setattr(live_module, "ANSWER_TIMEOUT_S", TIMEOUT_S)


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    values = {"source": json.dumps(source_document(a_source())), "spec": json.dumps(spec_document(SPEC))}
    with database.begin() as connection:
        for statement in _STORE.split(";\n"):
            connection.execute(text(statement), values)
    yield database
    database.close()


def run(database: Database, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(text(statement))


def end_connections(database: Database) -> None:
    run(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND query LIKE '%shown%' AND pid <> pg_backend_pid()",
    )


@contextmanager
def read_held(database: Database) -> Iterator[None]:
    """Whatever read begins in here does not end in here."""
    with database.begin() as connection:
        connection.execute(text("LOCK TABLE job IN ACCESS EXCLUSIVE MODE"))
        yield


def live(database: Database, scene: Callable[[LiveJobs], Awaitable[None]]) -> None:
    async def whole() -> None:
        jobs = LiveJobs(database)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await opened(jobs)
                await scene(jobs)
        finally:
            jobs.close()

    asyncio.run(whole())


async def opened(jobs: LiveJobs) -> Job:
    """The job, once there is a connection."""
    while (job := await jobs.get(JOB_ID)) is None:
        await asyncio.sleep(0.01)
    return job


def test_it_says_what_the_store_says(database: Database) -> None:
    async def scene(jobs: LiveJobs) -> None:
        job = await jobs.get(JOB_ID)
        assert job == JobStore(database).get(JOB_ID)
        assert job is not None
        assert [(s.reason, s.count, len(s.samples)) for s in job.error_summaries] == [
            ("MISSING_ITEM_ID", 7, 5),
            ("ITEM_REJECTED", 3, 3),
        ]
        assert [event.reason for event in job.history] == [f"n° {n}" for n in range(51, 151)]
        assert job.spec == SPEC
        assert await jobs.get("job-nobody") is None

    live(database, scene)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE job SET success_count = 8, revision = 4",
        "UPDATE job SET lease_until = now() - interval '1 s'",  # by which nothing is written: time passes
        "INSERT INTO job_event (job_id, kind, time) VALUES ('job-1', 'RETRIED', now())",
        "UPDATE job_error_count SET items = 8 WHERE reason = 'MISSING_ITEM_ID'",
        "DELETE FROM job_item_error WHERE item_id = 'item-1'",
    ],
)
def test_whatever_changes_is_shown_by_the_next_read_and_what_does_not_is_the_same_object(
    database: Database, change: str
) -> None:
    async def scene(jobs: LiveJobs) -> None:
        before = await jobs.get(JOB_ID)
        assert await jobs.get(JOB_ID) is before
        run(database, change)
        after = await jobs.get(JOB_ID)
        assert after != before
        assert after == JobStore(database).get(JOB_ID)

    live(database, scene)


def test_a_job_whose_server_is_gone_is_recovering(database: Database) -> None:
    async def scene(jobs: LiveJobs) -> None:
        run(database, "UPDATE job SET lease_until = now() - interval '1 s'")
        job = await jobs.get(JOB_ID)
        assert job is not None
        assert job.wait_reason is WaitReason.RECOVERING
        assert job.wait_detail.startswith("me ")

    live(database, scene)


def test_a_control_call_that_was_answered_is_shown_also_while_others_read(database: Database) -> None:
    control = JobControl(database)

    async def scene(jobs: LiveJobs) -> None:
        stopped = asyncio.Event()

        async def read_on() -> None:
            while not stopped.is_set():
                assert await jobs.get(JOB_ID) is not None

        readers = [asyncio.create_task(read_on()) for _ in range(8)]
        for _ in range(50):
            paused = await asyncio.to_thread(control.pause, JOB_ID, by=called("me"), reason="")
            shown = await jobs.get(JOB_ID)
            assert shown is not None
            assert shown.revision == paused.revision
            resumed = await asyncio.to_thread(control.resume, JOB_ID, by=called("me"), reason="")
            shown = await jobs.get(JOB_ID)
            assert shown is not None
            assert shown.revision == resumed.revision
        stopped.set()
        await asyncio.gather(*readers)

    live(database, scene)


def test_those_who_ask_during_a_read_share_the_next_one(database: Database, monkeypatch: Any) -> None:
    asked = []
    send = live_module._Link._send

    def note(link: Any) -> None:
        asked.append({job_id: len(answers) for job_id, answers in link._waiting.items()})
        send(link)

    monkeypatch.setattr(live_module._Link, "_send", note)

    async def scene(jobs: LiveJobs) -> None:
        asked.clear()
        with read_held(database):
            asking = asyncio.gather(*(jobs.get(job_id) for job_id in ("job-1", "job-2", "job-3", "job-2", "job-9")))
            await asyncio.sleep(0)
        found = await asking
        assert [job and job.job_id for job in found] == ["job-1", "job-2", "job-3", "job-2", None]
        assert asked == [{"job-1": 1}, {"job-2": 2, "job-3": 1, "job-9": 1}]

    live(database, scene)


def test_one_who_leaves_takes_the_answer_from_nobody_else(database: Database) -> None:
    async def scene(jobs: LiveJobs) -> None:
        with read_held(database):
            leaving, staying = asyncio.create_task(jobs.get(JOB_ID)), asyncio.create_task(jobs.get(JOB_ID))
            await asyncio.sleep(0)
            leaving.cancel()
        assert (await staying) is not None
        assert leaving.cancelled()

    live(database, scene)


def test_a_connection_that_breaks_while_idle_is_noticed_and_replaced(database: Database) -> None:
    async def scene(jobs: LiveJobs) -> None:
        link = jobs._link
        assert link is not None
        end_connections(database)
        while link.open:
            await asyncio.sleep(0.01)
        await opened(jobs)
        assert jobs._link is not link

    live(database, scene)


def test_a_connection_that_breaks_during_a_read_sends_its_callers_the_other_way(database: Database) -> None:
    async def scene(jobs: LiveJobs) -> None:
        with read_held(database):
            waiting = [asyncio.create_task(jobs.get(JOB_ID)) for _ in range(3)]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in waiting)
            end_connections(database)
            assert await asyncio.gather(*waiting) == [None] * 3

    live(database, scene)


def test_a_server_that_is_silent_holds_nobody_up_for_long(database: Database, monkeypatch: Any) -> None:
    monkeypatch.setattr(live_module, "ANSWER_TIMEOUT_S", 0.2)

    async def scene(jobs: LiveJobs) -> None:
        with read_held(database):
            assert await asyncio.gather(jobs.get(JOB_ID), jobs.get("job-2")) == [None, None]
        await opened(jobs)

    live(database, scene)


def test_after_a_failover_it_leaves_the_old_server_with_the_pool(database: Database) -> None:
    async def scene(jobs: LiveJobs) -> None:
        link = jobs._link
        with pytest.raises(StorageUnavailable):
            run(database, "SET TRANSACTION READ ONLY; UPDATE job SET revision = 0")
        await opened(jobs)
        assert jobs._link is not link

    live(database, scene)


@pytest.mark.parametrize("change", ["current_operation = repeat('x', 100000)", "spec = '{}'"])
def test_a_job_that_is_too_large_or_unreadable_is_left_to_a_thread(database: Database, change: str) -> None:
    run(database, f"UPDATE job SET {change} WHERE job_id = 'job-2'")

    async def scene(jobs: LiveJobs) -> None:
        found = await asyncio.gather(jobs.get("job-2"), jobs.get("job-3"), jobs.get("job-2"), jobs.get("job-3"))
        assert [job and job.job_id for job in found] == [None, "job-3", None, "job-3"]

    live(database, scene)


def test_closing_answers_those_who_wait_and_those_who_come_later(database: Database) -> None:
    async def scene(jobs: LiveJobs) -> None:
        with read_held(database):
            waiting = asyncio.create_task(jobs.get(JOB_ID))
            await asyncio.sleep(0)
            jobs.close()
            assert await waiting is None
        assert await jobs.get(JOB_ID) is None

    live(database, scene)


def test_its_plan_goes_along_indexes_however_small_the_tables_are(database: Database) -> None:
    connection = live_module._connected(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (FORMAT JSON) EXECUTE shown (%s)", ([JOB_ID],))
            connect.finish(connection, connect.within(TIMEOUT_S))
            plan = json.dumps(cursor.fetchone())
    finally:
        connection.close()
    assert "$1" in plan  # made for any ids
    assert {"job_pkey", "job_event_pkey", "job_item_error_by_reason", "job_error_count_pkey"} <= set(plan.split('"'))
    assert "Seq Scan" not in plan


def test_behind_a_pooler_in_transaction_mode_it_leaves_all_to_a_thread(database: Database) -> None:
    pooled = Database(Target(url=database.url, pooling=Pooling.TRANSACTION))

    async def scene() -> None:
        jobs = LiveJobs(pooled)
        assert await jobs.get(JOB_ID) is None
        assert not jobs._connecting
        jobs.close()

    asyncio.run(scene())
    assert JobStore(pooled).get(JOB_ID) == JobStore(database).get(JOB_ID)
    pooled.close()
