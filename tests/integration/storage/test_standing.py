"""How jobs, syncs and messages stand, read for the metrics: right, seldom, and never for long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import text
from tests.support.pooler import pgbouncer

from blade_server.storage import standing
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import Database
from blade_server.storage.standing import StandingReader, SyncStanding


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url, pool_size=2)
    yield database
    database.close()


@pytest.fixture
def reader(postgres_url: str) -> Iterator[StandingReader]:
    reader = StandingReader(postgres_url)
    yield reader
    reader.close()


def _run(database: Database, *statements: str) -> None:
    with database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _job(job_id: str, status: str, age: str, *, sync: str = "", withheld: int = 0) -> str:
    ended = "now()" if status in {"COMPLETED", "FAILED"} else "NULL"
    return f"""
        INSERT INTO job (job_id, source_json, spec, status, plan, create_time, update_time, end_time, sync, writes,
                         report)
        VALUES ('{job_id}', '{{}}', '{{}}', '{status}', '{{}}', now() - interval '{age}', now(), {ended}, '{sync}',
                '{sync}' <> '', '{{"counts": {{"withheld": {withheld}}}}}')
    """


def _sync(name: str, *, success: str = "NULL", due: str = "NULL", max_age_s: float = 0.0, paused: bool = False) -> str:
    return f"""
        INSERT INTO sync (name, source, destination, spec, owner, paused, last_success_time, next_due, create_time,
                          update_time)
        VALUES ('{name}', 's', 'default', '{{"max_age_s": {max_age_s}}}', '{{}}', {paused}, {success}, {due},
                now() - interval '2 hours', now())
    """


def test_jobs_and_messages_are_counted_and_the_oldest_one_that_waits_is_known(
    database: Database, reader: StandingReader
) -> None:
    _run(
        database,
        _job("a", "PENDING", "90 seconds"),
        _job("b", "PENDING", "1 second"),
        _job("c", "RUNNING", "2 hours"),
        _job("d", "COMPLETED", "3 hours"),
        "INSERT INTO notification (name, create_time, update_time) VALUES ('n', now(), now())",
        """INSERT INTO outbox (message_id, notification, state, create_time)
           SELECT n, 'n', CASE WHEN n < 3 THEN 'WAITING' WHEN n < 8 THEN 'DEAD' ELSE 'DELIVERED' END, now()
           FROM generate_series(0, 9) AS n""",
    )
    found = reader.now()
    assert found is not None
    assert found.jobs == {"PENDING": 2, "RUNNING": 1}
    assert 89 < found.oldest_pending_s < 120
    assert found.messages == {"WAITING": 3, "DEAD": 5}


def test_a_sync_is_late_for_each_of_three_reasons_and_not_while_it_is_paused(
    database: Database, reader: StandingReader
) -> None:
    hour_ago, soon = "now() - interval '1 hour'", "now() + interval '1 hour'"
    _run(
        database,
        _sync("in-time", success=hour_ago, due=soon, max_age_s=7200),
        _sync("just-due", success=hour_ago, due="now() - interval '5 seconds'"),
        _sync("no-server", due="now() - interval '2 minutes'"),
        _sync("old", success=hour_ago, max_age_s=60),
        _sync("never", max_age_s=60),
        _sync("missed", success=hour_ago, due=soon),
        _sync("made-up", success=hour_ago, due=soon),
        _sync("paused", success=hour_ago, due=hour_ago, max_age_s=60, paused=True),
        "INSERT INTO sync_fire (sync, due_time, outcome, time) VALUES ('missed', now(), 'MISSED', now()), "
        "('made-up', now() - interval '1 minute', 'MISSED', now()), ('made-up', now(), 'STARTED', now())",
        _job("old-run", "COMPLETED", "40 minutes", sync="in-time", withheld=9),
        _job("last-run", "COMPLETED", "30 minutes", sync="in-time", withheld=4),
        _job("of-one-before", "COMPLETED", "3 hours", sync="old", withheld=5),
    )
    found = reader.now()
    assert found is not None
    by_name = {sync.name: sync for sync in found.syncs}
    assert {name for name, sync in by_name.items() if sync.late} == {"no-server", "old", "never", "missed"}
    assert {name for name, sync in by_name.items() if sync.success_age_s is None} == {"no-server", "never", "paused"}
    assert 3599 < (by_name["in-time"].success_age_s or 0) < 3700
    assert {name: sync.withheld for name, sync in by_name.items() if sync.withheld} == {"in-time": 4}


def test_an_empty_database_has_nothing_and_is_not_asked_again_at_once(
    database: Database, reader: StandingReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reader.now()
    assert found is not None
    assert (found.jobs, found.oldest_pending_s, found.messages, found.syncs) == ({}, 0.0, {}, [])
    _run(database, _job("a", "PENDING", "1 second"), _sync("s"))
    assert reader.now() is found
    monkeypatch.setattr(standing, "FRESH_S", 0.0)
    again = reader.now()
    assert again is not None
    assert again.jobs == {"PENDING": 1}
    assert again.syncs == [SyncStanding(name="s", success_age_s=None, late=False, withheld=0)]


def test_a_table_that_is_locked_is_waited_for_only_so_long(
    database: Database, reader: StandingReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "TIMEOUT_S", 0.2)
    with database.begin() as connection:
        connection.execute(text("LOCK TABLE sync IN ACCESS EXCLUSIVE MODE"))
        began_s = time.monotonic()
        assert reader.now() is None
        assert reader.now() is None
        assert time.monotonic() - began_s < 2
    monkeypatch.setattr(standing, "FRESH_S", 0.0)
    monkeypatch.setattr(standing, "TIMEOUT_S", 10.0)
    assert reader.now() is not None


def test_a_pooler_keeps_its_backend(postgres_url: str) -> None:
    """One whose client leaves within a transaction is closed, and another one made: every five seconds, for nothing."""
    with pgbouncer(postgres_url, "transaction") as url, closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        pids = []
        for _ in range(2):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pids += cursor.fetchone()
            with closing(StandingReader(Target(url=url, pooling=Pooling.TRANSACTION))) as reader:
                assert reader.now() is not None
        assert pids[0] == pids[1]
