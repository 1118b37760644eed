"""The audit log of a server: what it holds, that it can be read and checked, and what a kill leaves of a change."""

from __future__ import annotations

import hashlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool
from tests.integration.rpc.conftest import failure
from tests.support.access import HEADERS, METADATA, called
from tests.support.nouns import a_source, a_spec
from tests.support.servers import TIMEOUT_S, Served, run
from tests.support.waiting import wait_until

from blade.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    config_service_pb2,
    config_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
)
from blade_server.core.access.tokens import hash_of, new_token
from blade_server.model import NewJob
from blade_server.model.access import Token
from blade_server.storage.access import AccessStore
from blade_server.storage.audit import AUDIT_LOCK
from blade_server.storage.database import Database
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.sources import SourceStore

JOB = "job-1"
AUDITED = audit_service_pb2.AuditEntry


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """With a job that no server runs."""
    database = Database(postgres_url, pool_size=2)
    SourceStore(database).add(a_source(), by=called())
    new = NewJob(
        job_id=JOB,
        spec=a_spec(),
        source=a_source(),
        statement="SELECT 1",
        request_id="",
        request_hash="",
        level=0,
        parent_job_id="",
    )
    NewJobs(database, max_open=9).add(new, by=called())
    yield database
    database.close()


@pytest.fixture
def console(postgres_url: str) -> Iterator[Connection]:
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


class World:
    """A server, and a channel to it."""

    def __init__(self, url: str, **changes: str) -> None:
        self.server = Served("--json", DATABASE_URL=url, BLADE_MAX_RUNNING_JOBS="0", **changes)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.said()['port']}")
        self.audit = audit_service_pb2_grpc.AuditServiceStub(self.channel)
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.sources = config_service_pb2_grpc.ConfigServiceStub(self.channel)

    def cancel(self, **metadata: str) -> Any:
        request = job_service_pb2.CancelJobRequest(job_id=JOB, reason="enough")
        return self.jobs.CancelJob.future(request, timeout=TIMEOUT_S, metadata=(*METADATA, *metadata.items()))

    def list(self, **wanted: Any) -> list[Any]:
        request = audit_service_pb2.ListAuditEntriesRequest(**wanted)
        return list(self.audit.ListAuditEntries(request, timeout=TIMEOUT_S, metadata=METADATA).entries)

    def verify(self, **anchor: Any) -> Any:
        request = audit_service_pb2.VerifyAuditLogRequest(**anchor)
        return self.audit.VerifyAuditLog(request, timeout=TIMEOUT_S, metadata=METADATA)

    def close(self) -> None:
        self.channel.close()
        if self.server.process.poll() is None:
            self.server.process.kill()
        self.server.process.communicate()


@pytest.fixture
def serve(postgres_url: str, database: Database) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def start(**changes: str) -> World:
        worlds.append(World(postgres_url, **changes))
        return worlds[-1]

    yield start
    for world in worlds:
        world.close()


def test_who_did_what_is_listed_exported_and_verified(serve, tmp_path):
    world = serve(BLADE_AUDIT_ANCHOR_FILE=str(tmp_path / "anchors"))
    trace = "ab" * 16
    world.cancel(**{"blade-actor": "anna", "traceparent": f"00-{trace}-{'cd' * 8}-01"}).result()
    [entry] = world.list(method="CancelJob")
    assert (entry.principal, entry.kind, entry.actor) == ("admin", "admin", "anna")
    assert (entry.object, entry.reason, entry.outcome) == (f"job:{JOB}", "enough", AUDITED.DONE)
    assert (entry.method, entry.trace_id) == ("blade.v1.JobService/CancelJob", trace)
    assert entry.address.startswith("127.0.0.1:")
    request = job_service_pb2.CancelJobRequest(job_id=JOB, reason="enough").SerializeToString()
    assert entry.request_digest == hashlib.sha256(request).hexdigest()

    exported = [
        one
        for answer in world.audit.ExportAuditLog(audit_service_pb2.ExportAuditLogRequest(), metadata=METADATA)
        for one in answer.entries
    ]
    previous = bytes(32)
    for number, one in enumerate(exported, 1):
        previous = hashlib.sha256(previous + one.content).digest()
        assert (one.entry.number, one.entry.hash) == (number, previous.hex())
    found = world.verify(anchor_number=entry.number, anchor_hash=entry.hash)
    assert (found.intact, found.entry_count, found.head_hash) == (True, len(exported), previous.hex())
    rest = f"http://127.0.0.1:{world.server.said()['http_port']}/audit"
    shown = requests.get(f"{rest}?method=CancelJob", headers=HEADERS, timeout=TIMEOUT_S).json()
    assert [one["hash"] for one in shown["entries"]] == [entry.hash]
    assert requests.get(f"{rest}:verify", headers=HEADERS, timeout=TIMEOUT_S).json()["intact"] is True
    assert entry.hash in requests.get(f"{rest}:export", headers=HEADERS, timeout=TIMEOUT_S).text
    assert world.verify(anchor_number=99, anchor_hash=entry.hash).first_wrong == len(exported) + 1

    _, errors = world.server.stop()
    assert "Traceback" not in errors
    assert "the audit log ends with" in errors
    number, hash_, _ = (tmp_path / "anchors").read_text().splitlines()[-1].split()
    assert (int(number), hash_) == (len(exported), previous.hex())


def test_refusals_are_told_and_what_was_sent_is_not(serve, database, tmp_path):
    world = serve()
    token_id, token = new_token()
    AccessStore(database).admit(Token(token_id=token_id, principal="otto"), hash_of(token))
    list_sources = world.sources.ListSources
    for header in (f"Bearer {token}x", f"Bearer {token}x", f"{token}"):
        failure(lambda header=header: _call(list_sources, header))
    assert failure(lambda: _call(list_sources, f"Bearer {token}")).code() is grpc.StatusCode.PERMISSION_DENIED
    wait_until(lambda: len(world.list(outcomes=[AUDITED.REFUSED])) == 3)
    otto, *strangers = world.list(outcomes=[AUDITED.REFUSED])
    assert (otto.principal, otto.kind, otto.method) == ("otto", "token", "blade.v1.ConfigService/ListSources")
    assert otto.detail == "'otto' needs the role VIEWER on at least one source; an ADMIN can grant it"
    assert {stranger.detail for stranger in strangers} == {"this token is not good (any more)", "authorization"}
    assert {(stranger.principal, stranger.kind, stranger.address) for stranger in strangers} == {
        ("", "nobody", "127.0.0.1")
    }
    assert token.rpartition("_")[2][:8] not in "".join(str(entry) for entry in world.list())
    assert world.verify().intact


def _call(method: Any, authorization: str) -> Any:
    request = config_service_pb2.ListSourcesRequest()
    return method(request, timeout=TIMEOUT_S, metadata=(("authorization", authorization),))


@pytest.mark.slow
def test_a_reading_is_told_even_if_the_log_was_locked_until_the_server_stopped(serve, console):
    world = serve()
    console.execute(text(f"SELECT pg_advisory_xact_lock({AUDIT_LOCK})"))
    request = job_service_pb2.ListItemErrorsRequest(job_id=JOB)
    for _ in range(3):
        world.jobs.ListItemErrors(request, timeout=TIMEOUT_S, metadata=METADATA)
    world.server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not answers(world.server.said()["port"]))
    console.rollback()
    world.server.process.wait(TIMEOUT_S)
    assert [entry.object for entry in serve().list(method="ListItemErrors")] == [f"job:{JOB}"] * 3


def test_rows_that_come_with_a_job_are_a_reading_once_a_call(serve, console):
    world = serve()
    job, watched = job_service_pb2.GetJobRequest(id=JOB), job_service_pb2.WatchJobRequest(job_id=JOB)
    world.jobs.GetJob(job, timeout=TIMEOUT_S, metadata=METADATA)
    console.execute(text("UPDATE job SET error_count = 1, revision = revision + 1"))
    console.execute(text("INSERT INTO job_error_count (job_id, reason, items) VALUES ('job-1', 'ITEM_REJECTED', 1)"))
    console.execute(
        text(
            "INSERT INTO job_item_error (job_id, key, item_id, stage, reason, field, message, attempts, row_json,"
            " create_time) VALUES ('job-1', '', 'a', 'UPLOAD', 'ITEM_REJECTED', '', '', 1, '{}', now())"
        )
    )
    console.commit()
    shown = world.jobs.GetJob(job, timeout=TIMEOUT_S, metadata=METADATA).job
    assert shown.error_summaries[0].samples[0].row_json == "{}"
    snapshots = world.jobs.WatchJob(watched, timeout=TIMEOUT_S, metadata=METADATA)
    next(snapshots)
    world.cancel().result()
    assert [snapshot.job.status for snapshot in snapshots][-1] == shown.Status.CANCELLED
    world.server.stop()
    told = [entry.method.rpartition("/")[2] for entry in serve().list(object=f"job:{JOB}")]
    assert sorted(told) == ["", "CancelJob", "GetJob", "WatchJob"]


def answers(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


HOLD = 4711


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "both"), [("before_the_entry", False), ("in_the_commit", True)])
def test_a_kill_leaves_the_change_with_its_entry_or_neither(serve, console, database, moment, both):
    if moment == "in_the_commit":
        console.execute(
            text(
                f"""
                CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_advisory_xact_lock_shared({HOLD}); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON audit_entry DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION gate()
                """
            )
        )
        console.commit()
    world = serve()
    lock = AUDIT_LOCK if moment == "before_the_entry" else HOLD
    console.execute(text(f"SELECT pg_advisory_lock({lock})"))
    console.commit()
    cancelled = world.cancel()
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
    with database.read() as connection:
        wait_until(lambda: connection.execute(waiting).scalar_one())
        world.server.process.send_signal(signal.SIGKILL)
        world.server.process.wait()
        console.execute(text(f"SELECT pg_advisory_unlock({lock})"))
        console.commit()
        at_work = text("SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid'")
        wait_until(lambda: not connection.execute(at_work).scalar_one())
        status = connection.execute(text("SELECT status FROM job")).scalar_one()
        told = connection.execute(text("SELECT count(*) FROM audit_entry WHERE verb = 'CancelJob'")).scalar_one()
    assert cancelled.exception() is not None
    assert (status == "CANCELLED", told == 1) == (both, both)
    assert serve().verify().intact


@pytest.mark.slow
def test_old_months_are_pruned_by_a_command(serve, postgres_url, tmp_path):
    world = serve()
    entry_count = world.verify().entry_count
    arguments = ["prune-audit", "--before=2999-01-01", f"--export={tmp_path / 'export'}"]
    status, says = run(*arguments, DATABASE_URL=postgres_url)
    assert status == 0
    assert says.startswith(f"The audit log begins behind entry {entry_count}, whose hash is ")
    [entry] = world.list()
    assert (entry.method, entry.kind, entry.object) == ("blade prune-audit", "server", f"audit:{entry_count}")
    assert world.verify().intact
    assert len((tmp_path / "export").read_text().splitlines()) == entry_count
    status, says = run(*arguments, DATABASE_URL=postgres_url)
    assert status == 1
    assert says.startswith("blade: ")
    assert "export" in says


def test_an_anchor_file_that_cannot_be_written_is_one_sentence(postgres_url: str, tmp_path: Path) -> None:
    status, says = run("serve", DATABASE_URL=postgres_url, BLADE_AUDIT_ANCHOR_FILE=str(tmp_path / "no" / "file"))
    assert status == 2
    assert says.startswith("blade: BLADE_AUDIT_ANCHOR_FILE is '")
