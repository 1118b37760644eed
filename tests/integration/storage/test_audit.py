"""The audit log in PostgreSQL: one chain whoever writes it, and a row for each change, in the change's transaction."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from tests.support.access import called
from tests.support.nouns import a_source, a_spec

from blade_server.errors import NotFound, Precondition, StorageUnavailable
from blade_server.model import JobLimits, NewJob
from blade_server.model.access import AuditOutcome, Caller, Deed, Grant, Kind, Principal, Role, Token
from blade_server.model.audit import AuditEntry, AuditFilter
from blade_server.storage import audit
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.jobs.control import JobControl
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.rights import RightsStore
from blade_server.storage.sources import SourceStore

ANNA = called(
    "the night shift",
    principal=replace(called().principal, name="anna", kind=Kind.TOKEN),
    method="blade.v1.JobService/CancelJob",
    address="10.0.0.1:4711",
    request_digest="ab" * 32,
    traceparent=f"00-{'cd' * 16}-{'ab' * 8}-01",
)


ANYBODY = called()


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url, pool_size=16)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> AuditStore:
    return AuditStore(database)


@pytest.fixture
def operator(postgres_url: str) -> Iterator[Connection]:
    """Somebody at a console of PostgreSQL."""
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def entries(store: AuditStore) -> list[AuditEntry]:
    return store.after(0, limit=10_000)


def assert_chained(found: list[AuditEntry]) -> None:
    """As anybody can who has an export."""
    assert [entry.number for entry in found] == list(range(1, len(found) + 1))
    previous = bytes(32)
    for entry in found:
        previous = hashlib.sha256(previous + entry.content.encode("ascii")).digest()
        assert entry.hash == previous


def test_an_entry_says_who_did_what_and_its_bytes_are_as_documented(store):
    store.append([(ANNA, Deed(about="job:7", reason="the bay is full", detail="größer"))])
    [entry] = entries(store)
    fields = json.loads(entry.content)
    assert entry.content == json.dumps(fields, sort_keys=True, separators=(",", ":"))
    written = datetime.fromisoformat(fields.pop("time"))
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert fields == {
        "v": 1,
        "number": 1,
        "principal": "anna",
        "kind": "token",
        "actor": "the night shift",
        "address": "10.0.0.1:4711",
        "method": "blade.v1.JobService/CancelJob",
        "object": "job:7",
        "reason": "the bay is full",
        "detail": "größer",
        "outcome": "DONE",
        "request_digest": "ab" * 32,
        "trace_id": "cd" * 16,
    }
    assert_chained([entry])


def test_what_callers_make_long_or_odd_is_cut_and_kept(store):
    name = "\ud800\0" + "n" * 9999
    somebody = replace(ANNA, principal=Principal(name=name, kind=Kind.JWT), claims="💥" * 9999, address="a" * 9999)
    store.append([(somebody, Deed(about="source:" + "s" * 9999, reason="r" * 9999, detail="d" * 9999))])
    [entry] = entries(store)
    assert len(entry.content) < 8000
    assert entry.fields["principal"].startswith("?nnn")
    assert entry.fields["reason"].endswith("r…")


def test_one_chain_whoever_writes_it(database, postgres_url, store):
    """Eight threads over two pools, with rows locked that others want, too, or none."""
    sources = SourceStore(database)
    for name in "ab":
        sources.add(a_source(name=name), by=called())
    other = Database(postgres_url, pool_size=4)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                with (other if number % 2 else database).begin() as connection:
                    for name in ("", "a", "b", "ab")[turn % 4]:
                        connection.execute(text("UPDATE source SET etag = 'x' WHERE name = :name"), {"name": name})
                    audit.write(connection, ANNA, Deed(about=f"job:{number}.{turn}"))
        except BaseException as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    assert failed == []
    found = entries(store)
    assert len(found) == 2 + 8 * 20
    assert_chained(found)
    times = [entry.fields["time"] for entry in found]
    assert times == sorted(times)


def test_what_is_rolled_back_leaves_no_entry_and_no_gap(database, store):
    with database.begin() as connection:
        audit.write(connection, ANNA, Deed())
        connection.rollback()
    store.append([(ANNA, Deed())])
    assert_chained(entries(store))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET content = replace(content, 'anna', 'otto')",
        "UPDATE audit_entry SET hash = hash",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "SET LOCAL session_replication_role = replica; DELETE FROM audit_entry",
    ],
)
def test_entries_are_neither_changed_nor_deleted(store, operator, statement):
    store.append([(ANNA, Deed())])
    with pytest.raises(DBAPIError, match="neither changed nor deleted"):
        operator.execute(text(statement))


def test_entries_go_that_the_log_calls_pruned_and_no_others(store, operator):
    store.append([(ANNA, Deed()) for _ in range(3)])
    store.append([(replace(ANNA, method="blade prune-audit"), Deed(about="audit:2", detail="ab" * 32))])
    assert store.drop(2, limit=1) == 1
    assert [entry.number for entry in entries(store)] == [2, 3, 4]
    for number in (3, 4):
        with pytest.raises(DBAPIError, match="neither changed nor deleted"):
            operator.execute(text(f"DELETE FROM audit_entry WHERE number IN (2, {number})"))
        operator.rollback()
    store.append([(replace(ANNA, method="blade prune-audit"), Deed(about="audit:99", detail="ab" * 32))])
    with pytest.raises(DBAPIError, match="neither changed nor deleted"):
        operator.execute(text("DELETE FROM audit_entry WHERE number = 5"))  # by its own word
    operator.rollback()
    store.append([(replace(ANNA, method="blade prune-audit"), Deed(about="audit:2", detail="ab" * 32))])
    assert store.drop(2, limit=9) == 1
    assert store.pruned().number == 2
    assert store.pruned().hash.hex() == "ab" * 32


def test_an_entry_cannot_say_one_thing_in_its_columns_and_another_in_its_bytes(operator):
    with pytest.raises(DBAPIError, match="generated"):
        operator.execute(text("INSERT INTO audit_entry (content, hash, principal) VALUES ('{}', '', 'otto')"))


# ----------------------------------------------------------------------------------------------------- asked for


def test_entries_are_found_by_what_they_say(store):
    otto = replace(ANNA, principal=Principal(name="otto", kind=Kind.JWT), method="blade.v1.ConfigService/RemoveSource")
    store.append([(ANNA, Deed(about="job:1")), (otto, Deed(about="source:a", outcome=AuditOutcome.REFUSED))])
    middle = entries(store)[1].time
    time.sleep(0.001)  # so that the next one is later
    store.append([(ANNA, Deed(about="job:2"))])

    def numbers(**wanted: Any) -> list[int]:
        return [entry.number for entry in store.page(AuditFilter(**wanted), before=None, limit=9)]

    assert numbers() == [3, 2, 1]
    assert numbers(principal="anna") == [3, 1]
    assert numbers(object="job:2") == [3]
    assert numbers(method="RemoveSource") == numbers(method="blade.v1.ConfigService/RemoveSource") == [2]
    assert numbers(method="blade.v1.JobService/RemoveSource") == []
    assert numbers(outcomes=frozenset({AuditOutcome.REFUSED, AuditOutcome.FAILED})) == [2]
    assert numbers(after=middle, before=middle + timedelta(microseconds=1)) == [2, 1]  # one moment for a transaction
    assert numbers(before=middle) == []
    assert numbers(after=datetime(1, 1, 1, tzinfo=UTC), before=datetime(9999, 1, 1, tzinfo=UTC)) == [3, 2, 1]
    assert [entry.number for entry in store.page(AuditFilter(principal="anna"), before=3, limit=9)] == [1]


# ----------------------------------------------------------------------------------------------------- changes


@pytest.fixture
def sources(database: Database) -> SourceStore:
    return SourceStore(database)


@pytest.fixture
def jobs(database: Database, sources: SourceStore) -> Callable[..., Any]:
    """`jobs(job_id)`: stores one, by somebody else than anna."""
    sources.add(a_source(), by=called())

    def add(job_id: str, *, by: Caller = ANYBODY, request_id: str = "", parent: str = "", reason: str = "") -> Any:
        new = NewJob(
            job_id=job_id,
            spec=a_spec(),
            source=a_source(),
            statement="SELECT 1",
            request_id=request_id,
            request_hash="h",
            level=0,
            parent_job_id=parent,
        )
        return NewJobs(database, max_open=9).add(new, by=by, reason=reason)

    return add


def by_anna(store: AuditStore) -> list[tuple[str, str, str, str]]:
    found = entries(store)
    assert_chained(found)
    told = [entry.fields for entry in found if entry.fields["principal"] == "anna"]
    return [(entry["object"], entry["reason"], entry["outcome"], entry["detail"]) for entry in told]


def done(about: str, reason: str = "", detail: str = "") -> tuple[str, str, str, str]:
    return (about, reason, "DONE", detail)


def test_every_change_of_a_source_is_an_entry(store, sources):
    added = sources.add(a_source(), by=ANNA, request_id="r", request_hash="h")
    assert by_anna(store) == [done("source:parts")]
    sources.add(a_source(), by=ANNA, request_id="r", request_hash="h")  # the same call again
    sources.update(added, added.etag, by=ANNA)
    sources.remove("parts", by=ANNA)
    with pytest.raises(NotFound):
        sources.remove("parts", by=ANNA)
    assert by_anna(store) == [done("source:parts")] * 3


def test_every_change_of_a_job_is_an_entry_and_what_changes_nothing_is_none(store, jobs, database):
    control = JobControl(database)
    for _ in range(2):
        jobs("job-1", by=ANNA, request_id="r", reason="now")
    said = [done("job:job-1", "now")]
    assert by_anna(store) == said
    for _ in range(2):
        control.set_limits("job-1", JobLimits(items_per_second=5), by=ANNA, reason="slowly")
    assert by_anna(store) == [*said, done("job:job-1", "slowly")]
    with database.begin() as connection:
        connection.execute(text("UPDATE job SET status = 'RUNNING'"))
    for _ in range(2):
        control.pause("job-1", by=ANNA, reason="lunch")
    for _ in range(2):
        control.resume("job-1", by=ANNA, reason="after lunch")
    for _ in range(2):
        control.cancel("job-1", by=ANNA, reason="enough")
    with pytest.raises(Precondition):
        control.pause("job-1", by=ANNA, reason="")
    said += [done("job:job-1", reason) for reason in ("slowly", "lunch", "after lunch", "enough")]
    assert by_anna(store) == said
    with database.begin() as connection:
        connection.execute(text("INSERT INTO job_error_count VALUES ('job-1', 'INTERNAL', 1)"))
    jobs("job-2", by=ANNA, parent="job-1", reason="again")
    assert by_anna(store) == [*said, done("job:job-2", "again", "retry of job-1")]


def test_every_change_of_tokens_and_grants_is_an_entry_and_what_changes_nothing_is_none(store, sources, database):
    sources.add(a_source(), by=ANYBODY)
    rights = RightsStore(database)
    token = Token(token_id="t1", principal="otto", expire_time=datetime(2999, 1, 1, tzinfo=UTC))
    reads = Grant(grant_id="g1", role=Role.READER, scope="source:parts", principal="otto")
    rights.add_token(token, b"the hash", [reads], by=ANNA)
    rights.add_grant(reads, by=ANNA, reason="again")
    rights.add_grant(Grant(grant_id="g2", role=Role.ADMIN, group="crew"), by=ANNA, reason="for all")
    for _ in range(2):
        rights.revoke_token("t1", by=ANNA, reason="lost", needs_admin=False)
    rights.revoke_grant("g1", by=ANNA, reason="gone", needs_admin=False)
    with pytest.raises(NotFound):
        rights.revoke_grant("g1", by=ANNA, reason="gone", needs_admin=False)
    of_otto = "of otto, until 2999-01-01T00:00:00+00:00"
    assert by_anna(store) == [
        done("token:t1", "", of_otto),
        done("grant:g1", "", "READER on source:parts for otto"),
        done("grant:g2", "for all", "ADMIN on * for group crew"),
        done("token:t1", "lost", of_otto),
        done("grant:g1", "gone", "READER on source:parts for otto"),
    ]


@contextmanager
def held(operator: Connection, statement: str) -> Iterator[None]:
    operator.execute(text(statement))
    yield
    operator.rollback()


@pytest.mark.parametrize(
    "hold", ["LOCK TABLE audit_entry IN SHARE MODE", f"SELECT pg_advisory_xact_lock({audit.AUDIT_LOCK})"]
)
def test_a_change_that_cannot_be_told_is_not_made_and_what_changes_nothing_goes_on(sources, store, operator, hold):
    sources.add(a_source(), by=ANNA)
    with held(operator, hold):
        started_s = time.monotonic()
        with pytest.raises(StorageUnavailable, match="audit log cannot be written, so nothing was done: another"):
            sources.remove("parts", by=ANNA)
        assert time.monotonic() - started_s < audit.LOCK_TIMEOUT_S + 2
        assert sources.get("parts", ANNA.sees).name == "parts"
    sources.remove("parts", by=ANNA)
    assert len(by_anna(store)) == 2


def test_a_server_that_may_not_write_the_log_changes_nothing(sources, store, operator):
    operator.execute(text("DROP ROLE IF EXISTS no_auditor"))
    operator.execute(text("CREATE ROLE no_auditor"))
    operator.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO no_auditor"))
    operator.execute(text("REVOKE INSERT ON audit_entry FROM no_auditor"))
    operator.commit()
    try:
        with sources._database.begin() as connection:
            connection.execute(text("SET LOCAL ROLE no_auditor"))
            with pytest.raises(StorageUnavailable, match="does not let this server write it"):
                audit.write(connection, ANNA, Deed())
            connection.rollback()
    finally:
        operator.execute(text("DROP OWNED BY no_auditor"))
        operator.execute(text("DROP ROLE no_auditor"))
        operator.commit()
    assert entries(store) == []
