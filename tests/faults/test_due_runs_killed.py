"""kill -9 of a whole server while many runs are due, and while it tells of them: nothing twice, nothing lost.

The catalog keeps every copy, so an item that is sent twice is seen.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from sqlalchemy import text
from tests.faults.servers import SETTINGS
from tests.support.access import called
from tests.support.engine import EngineWorld, maintenance_rows
from tests.support.pooler import pgbouncer
from tests.support.servers import Served, run
from tests.support.syncs import SyncWorld, make_sync_world
from tests.support.waiting import wait_until
from tests.support.webhooks import SECRET, Receiver

from blade_server.model.notification import NotificationFormat
from blade_server.model.sync import Schedule, SyncSpec

__all__ = ["make_sync_world"]

SYNCS, ROWS = 30, 300
HOOK = "env:BLADE_SECRET_HOOK"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


class Due:
    """Syncs over parts of one table, due a moment after the server starts; one row of each part is rejected."""

    def __init__(self, syncs: SyncWorld, receiver: Receiver) -> None:
        self.world: EngineWorld = syncs.world
        self._receiver = receiver
        self._server: Served | None = None
        columns = "INSERT INTO notification (name, url, secret, format, create_time, update_time)"
        values = {"url": receiver.url, "secret": HOOK, "format": NotificationFormat.CLOUD_EVENTS.value}
        self._run(f"{columns} VALUES ('ops', :url, :secret, :format, now(), now())", **values)
        self._run("DELETE FROM sync")
        for number in range(SYNCS):
            spec = SyncSpec(
                source="blade-maintenance",
                filter=f"number % {SYNCS} = {number}",
                scope=f"part {number}",
                schedule=Schedule(every_s=86_400.0),
                notifications=("ops",),
            )
            syncs.syncs.create(f"part-{number}", spec, by=called())
        self._run("""UPDATE sync SET owner = '{"name": "operator", "kind": "off", "groups": []}', next_due = now()""")

    def start(self, *arguments: str, database_url: str = "") -> Served:
        world = self.world
        self._server = Served(
            "--json",
            *arguments,
            **SETTINGS,
            DATABASE_URL=database_url or world.database.url,
            DATABRICKS_SERVER_HOSTNAME=world.warehouse.url,
            DATABRICKS_HTTP_PATH=world.warehouse.http_path,
            DATABRICKS_TOKEN=world.warehouse.token,
            BLADE_CATALOG_URL=world.catalog.url,
            BLADE_AUTH="off",
            BLADE_ADMIN_PORT=None,
            BLADE_ADMIN_TOKEN_FILE=None,
            BLADE_ALLOWED_WEBHOOK_HOSTS=f"{self._receiver.host}={HOOK}",
            BLADE_SECRET_HOOK=SECRET,
        )
        assert self._server.line, self._server.process.communicate()
        return self._server

    def kill(self) -> None:
        assert self._server is not None
        self._server.stop(signal.SIGKILL)
        self._server = None

    def stopped(self) -> None:
        """Somebody else has stopped it."""
        self._server = None

    def stop(self) -> None:
        if self._server is not None:
            self.kill()

    def _run(self, statement: str, **values: Any) -> None:
        with self.world.database.begin() as connection:
            connection.execute(text(statement), values)

    def rows(self, query: str) -> list[Any]:
        with self.world.database.begin() as connection:
            return list(connection.execute(text(query)))

    def count(self, what: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {what}")[0][0])

    def forget_leases_of_messages(self) -> None:
        """Two minutes have passed: whoever had taken a message is gone."""
        self._run("UPDATE outbox SET next_attempt_time = now() WHERE state = 'WAITING'")


@pytest.fixture
def due(make_sync_world: Callable[..., SyncWorld], receiver: Receiver) -> Iterator[Due]:
    rows = maintenance_rows(ROWS)
    rows["classification"][:SYNCS] = ["NOT ONE"] * SYNCS
    due = Due(make_sync_world(rows, runner=False, replace=False), receiver)
    yield due
    due.stop()


def check(due: Due) -> None:
    """Each sync had one run, which did all it had to, once."""
    fires = due.rows("SELECT sync, outcome, job_id FROM sync_fire")
    jobs = due.rows("SELECT job_id, sync, status, success_count, error_count FROM job")
    assert Counter(fire.outcome for fire in fires) == {"STARTED": SYNCS}
    assert {(fire.sync, fire.job_id) for fire in fires} == {(job.sync, job.job_id) for job in jobs}
    each = ROWS // SYNCS - 1
    assert Counter((job.status, job.success_count, job.error_count) for job in jobs) == {("COMPLETED", each, 1): SYNCS}
    assert due.world.held() == {f"MAINT-{number}": 1 for number in range(SYNCS, ROWS)}


def test_a_server_killed_among_due_runs(due: Due) -> None:
    due.start()
    wait_until(lambda: due.count("job WHERE status = 'COMPLETED'") >= 3, 120)
    due.kill()
    assert due.count("job WHERE end_time IS NULL") > 0, "it was over before it was killed"
    due.start()
    wait_until(lambda: due.count("job WHERE end_time IS NOT NULL") >= SYNCS, 180)
    check(due)


def test_a_server_killed_while_it_tells(due: Due, receiver: Receiver) -> None:
    due.start()
    wait_until(lambda: len(receiver.received) >= 3, 120)
    due.kill()
    told_by_then = len(receiver.received)
    due.start()
    wait_until(lambda: due.count("job WHERE end_time IS NOT NULL") >= SYNCS, 180)
    due.forget_leases_of_messages()
    wait_until(lambda: due.count("outbox WHERE state = 'DELIVERED'") >= SYNCS, 120)
    check(due)
    assert told_by_then < SYNCS, "it had told of all before it was killed"
    about = {
        (request.headers["webhook-id"], json.loads(request.body)["data"]["job_id"]) for request in receiver.received
    }
    assert about == {(row.message_id, row.data["job_id"]) for row in due.rows("SELECT * FROM outbox")}
    assert len({job_id for _, job_id in about}) == len(about) == SYNCS


def test_all_of_it_at_once_behind_a_pooler_of_transactions(due: Due, receiver: Receiver) -> None:
    """Due runs in job processes, messages, the pulse, scrapes and the doctor: nothing of a session is needed."""
    with pgbouncer(due.world.database.url, "transaction") as url:
        server = due.start("--workers", "1", database_url=url)
        metrics = f"http://127.0.0.1:{server.said()['admin_port']}/metrics"
        scraped: list[str] = []

        def ended() -> bool:
            scraped.append(requests.get(metrics, timeout=10).text)
            return due.count("outbox WHERE state = 'DELIVERED'") >= SYNCS

        wait_until(ended, 180, lambda: scraped[-1])
        check(due)
        run("doctor", DATABASE_URL=url)
        _, said = server.stop()
    due.stopped()
    for one in scraped:
        assert "blade_postgres_up 1.0" in one
        assert 'blade_jobs{status="RUNNING"}' in one
        assert f'blade_sync_late{{sync="part-{SYNCS - 1}"}}' in one
    assert "a pooler in transaction mode stands in front of PostgreSQL" in said
    alarms = [line for line in said.splitlines() if "Traceback" in line or "ERROR" in line or "WARNING" in line]
    expected = ("authentication is off", "a pooler in transaction mode")
    assert [line for line in alarms if not any(words in line for words in expected)] == []
