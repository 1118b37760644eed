"""Streams that run while rights change, and how much of a server one principal may have. Over a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import sqlalchemy
from google.rpc import error_details_pb2
from tests.support.access import called
from tests.support.nouns import JOB_ID, a_job, a_source
from tests.support.waiting import wait_until

from blade.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
)
from blade.v1 import query_service_pb2 as query_pb
from blade.v1.audit_service_pb2 import ExportAuditLogRequest
from blade.v1.audit_service_pb2_grpc import AuditServiceStub
from blade.v1.job_pb2 import Job
from blade.v1.query_service_pb2_grpc import QueryServiceStub
from blade_server.core.access.door import Door
from blade_server.core.access.rights import Rights
from blade_server.errors import StatementCancelled, StorageUnavailable
from blade_server.model import JobSpec
from blade_server.model.access import Grant, Role, Token
from blade_server.model.audit import AuditEntry
from blade_server.model.policy import AccessPolicy
from blade_server.storage.access import AccessStore
from blade_server.storage.database import Database
from blade_server.storage.rights import RightsStore
from blade_server.storage.sources import SourceStore

from .conftest import TIMEOUT_S, Details, RpcWorld, failure

PARTS = "source:parts"


class Signed:
    """A server where callers sign in, and another one that gives and takes their rights."""

    def __init__(self, url: str, make_world: Callable[..., RpcWorld], **settings: Any) -> None:
        self.database = Database(url, pool_size=4)
        self.store = AccessStore(self.database)
        elsewhere = Door(AccessPolicy(), self.store)
        self.rights = Rights(RightsStore(self.database), SourceStore(self.database), elsewhere, ("UNCLASS", "CUI"))
        for name in ("parts", "salaries"):
            SourceStore(self.database).add(replace(a_source(), name=name, data_type=name), by=called())
        self.rpc = make_world(door=Door(AccessPolicy(), self.store), **settings)
        self.rpc.server._streams._every_s = 0.1
        self.rpc.store(a_job(spec=JobSpec(sql="SELECT words", source="parts", data_type="maintenance")))

    def sign_in(self, name: str, *grants: tuple[Role, str]) -> tuple[Any, Token]:
        """The metadata of his calls, and his token."""
        his = [Grant(role=role, scope=scope) for role, scope in grants]
        secret, token = self.rights.create_token(name, by=called(), grants=his)
        return (("authorization", f"Bearer {secret}"),), token

    def revoke(self, name: str, scope: str) -> None:
        for grant in self.rights.grants(by=called(), principal=name)[0]:
            if grant.scope == scope:
                self.rights.revoke_grant(grant.grant_id, by=called())

    def watch(self, metadata: Any) -> Any:
        """A stream that has begun, and its first job."""
        stub = job_service_pb2_grpc.JobServiceStub(self.rpc.channel)
        request = job_service_pb2.WatchJobRequest(job_id=JOB_ID)
        request.min_interval.FromMilliseconds(200)
        call = stub.WatchJob(request, metadata=metadata, timeout=TIMEOUT_S)
        return call, next(call).job

    def execute(self, statement: str) -> None:
        with self.database.begin() as connection:
            connection.execute(sqlalchemy.text(statement))


@pytest.fixture
def make(postgres_url: str, make_world: Callable[..., RpcWorld]) -> Iterator[Callable[..., Signed]]:
    made = []

    def make(**settings: Any) -> Signed:
        made.append(Signed(postgres_url, make_world, **settings))
        return made[-1]

    yield make
    for each in made:
        each.database.close()


@pytest.fixture
def signed(make: Callable[..., Signed]) -> Signed:
    return make()


class StillRows:
    """A query whose warehouse does not answer until somebody cancels it."""

    def __init__(self) -> None:
        self.source = a_source()
        self.running = threading.Event()
        self.cancelled = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        self.running.set()
        assert self.cancelled.wait(TIMEOUT_S)
        raise StatementCancelled("cancelled")
        yield

    @property
    def schema(self) -> Any:
        next(iter(self))
        raise AssertionError

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None: ...


def newer(call: Any) -> Job:
    """The next snapshot that says something new: a busy machine may be late, and silence brings the last one again."""
    return next(answer.job for answer in call if not answer.heartbeat)


def ended(call: Any) -> grpc.StatusCode:
    return failure(lambda: list(call)).code()


# ------------------------------------------------------------------------------------------------- looked at again


def test_a_watcher_whose_token_is_revoked_elsewhere_is_unauthenticated(signed: Signed) -> None:
    hers, token = signed.sign_in("ann", (Role.VIEWER, PARTS))
    his, _ = signed.sign_in("ben", (Role.VIEWER, PARTS))
    (call, _), (other, _) = signed.watch(hers), signed.watch(his)

    signed.rights.revoke_token(token.token_id, by=called())

    assert ended(call) is grpc.StatusCode.UNAUTHENTICATED
    signed.rpc.store(a_job(revision=2))
    assert newer(other).revision == 2


def test_a_watcher_whose_token_is_over_is_unauthenticated(signed: Signed) -> None:
    metadata, _ = signed.sign_in("ann", (Role.VIEWER, PARTS))
    call, _ = signed.watch(metadata)

    signed.execute("UPDATE access_token SET expire_time = now()")

    assert ended(call) is grpc.StatusCode.UNAUTHENTICATED


def test_a_watcher_whose_grant_is_gone_is_denied_and_told_what_he_lacks(signed: Signed) -> None:
    metadata, _ = signed.sign_in("ann", (Role.VIEWER, PARTS), (Role.VIEWER, "source:salaries"))
    call, _ = signed.watch(metadata)

    signed.revoke("ann", PARTS)

    error = failure(lambda: list(call))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details() == "'ann' needs the role VIEWER on source 'parts'; an ADMIN can grant it"
    assert Details(error).info.reason == "ACCESS_DENIED"


def test_an_export_of_the_audit_log_ends_with_the_grant_behind_it(signed: Signed) -> None:
    metadata, _ = signed.sign_in("ann", (Role.AUDITOR, "*"))
    signed.rpc.audit.log.exported = lambda first: [AuditEntry(number=first + 1, hash=bytes(32), content="{}")]
    stub = AuditServiceStub(signed.rpc.channel)
    call = stub.ExportAuditLog(ExportAuditLogRequest(), metadata=metadata, timeout=TIMEOUT_S)
    next(call)

    signed.revoke("ann", "*")

    assert ended(call) is grpc.StatusCode.PERMISSION_DENIED


def test_a_grant_on_something_else_ends_nothing(signed: Signed) -> None:
    metadata, _ = signed.sign_in("ann", (Role.VIEWER, PARTS), (Role.VIEWER, "source:salaries"))
    call, _ = signed.watch(metadata)
    looks = _count(signed)

    signed.revoke("ann", "source:salaries")

    wait_until(lambda: looks() > 2)
    signed.rpc.store(a_job(revision=2))
    assert newer(call).revision == 2


def test_who_is_no_reader_any_more_goes_on_without_the_sql(signed: Signed) -> None:
    metadata, _ = signed.sign_in("ann", (Role.READER, PARTS), (Role.VIEWER, "*"))
    call, job = signed.watch(metadata)
    assert (job.spec.sql, job.redacted) == ("SELECT words", False)
    looks = _count(signed)

    signed.revoke("ann", PARTS)

    wait_until(lambda: looks() > 2)
    signed.rpc.store(a_job(revision=2))
    job = newer(call)
    assert (job.spec.sql, job.redacted) == ("", True)


@pytest.mark.parametrize("method", ["QueryItems", "QueryArrow"])
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_query_ends_with_the_right_to_it_and_its_statement_is_cancelled(
    signed: Signed, method: str, code: grpc.StatusCode
) -> None:
    metadata, token = signed.sign_in("ann", (Role.READER, PARTS), (Role.READER, "source:salaries"))
    rows = StillRows()
    signed.rpc.queries.items = signed.rpc.queries.arrow = lambda _, by: rows
    request = getattr(query_pb, f"{method}Request")(source="parts")
    call = getattr(QueryServiceStub(signed.rpc.channel), method)(request, metadata=metadata, timeout=TIMEOUT_S)
    assert rows.running.wait(TIMEOUT_S)

    if code is grpc.StatusCode.UNAUTHENTICATED:
        signed.rights.revoke_token(token.token_id, by=called())
    else:
        signed.revoke("ann", PARTS)

    assert ended(call) is code
    assert rows.cancelled.wait(TIMEOUT_S)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_an_export_of_the_audit_log_ends_with_the_right_to_it(signed: Signed, code: grpc.StatusCode) -> None:
    metadata, token = signed.sign_in("ann", (Role.AUDITOR, "*"), (Role.VIEWER, "*"))
    running, over = threading.Event(), threading.Event()

    def exported(first: int) -> list[Any]:
        running.set()
        over.wait(TIMEOUT_S)
        return []

    signed.rpc.audit.log.exported = exported
    stub = audit_service_pb2_grpc.AuditServiceStub(signed.rpc.channel)
    call = stub.ExportAuditLog(audit_service_pb2.ExportAuditLogRequest(), metadata=metadata, timeout=TIMEOUT_S)
    assert running.wait(TIMEOUT_S)

    if code is grpc.StatusCode.UNAUTHENTICATED:
        signed.rights.revoke_token(token.token_id, by=called())
    else:
        signed.execute("DELETE FROM access_grant WHERE role = 'AUDITOR'")

    try:
        assert ended(call) is code
    finally:
        over.set()


def test_a_postgresql_that_is_away_ends_nothing(signed: Signed) -> None:
    metadata, _ = signed.sign_in("ann", (Role.VIEWER, PARTS))
    call, _ = signed.watch(metadata)
    looks = 0

    def away(token_id: str) -> Any:
        nonlocal looks
        looks += 1
        raise StorageUnavailable("PostgreSQL does not answer")

    signed.store.token = away  # type: ignore[method-assign]
    wait_until(lambda: looks > 2)

    signed.rpc.store(a_job(revision=2))
    assert newer(call).revision == 2


def test_nobody_is_looked_at_when_nothing_runs(signed: Signed) -> None:
    metadata, _ = signed.sign_in("ann", (Role.VIEWER, PARTS))
    call, _ = signed.watch(metadata)
    call.cancel()

    streams = signed.rpc.server._streams
    wait_until(lambda: not streams._running and streams._looking is not None and streams._looking.done())
    assert not streams._counts


def _count(signed: Signed) -> Callable[[], int]:
    """How often somebody was looked up since."""
    looked_up, looks = signed.store.token, 0

    def count(token_id: str) -> Any:
        nonlocal looks
        looks += 1
        return looked_up(token_id)

    signed.store.token = count  # type: ignore[method-assign]
    return lambda: looks


# ------------------------------------------------------------------------------------------------- limits


def test_one_principal_has_so_many_watchers_and_others_have_theirs(make: Callable[..., Signed]) -> None:
    signed = make(principal_watchers=2)
    hers, _ = signed.sign_in("ann", (Role.VIEWER, PARTS))
    his, _ = signed.sign_in("ben", (Role.VIEWER, PARTS))
    calls = [signed.watch(hers)[0] for _ in range(2)]

    error = failure(lambda: signed.watch(hers))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "'ann' has 2 watchers on this server" in (error.details() or "")
    assert "BLADE_PRINCIPAL_WATCHERS" in (error.details() or "")
    assert Details(error).of(error_details_pb2.RetryInfo).retry_delay.seconds > 0
    signed.watch(his)[0].cancel()
    calls[0].cancel()
    wait_until(lambda: _lets_in(lambda: signed.watch(hers)[0].cancel()))


def test_one_principal_has_so_many_queries(make: Callable[..., Signed]) -> None:
    signed = make(principal_queries=1)
    metadata, _ = signed.sign_in("ann", (Role.READER, PARTS))
    rows = StillRows()
    signed.rpc.queries.items = lambda _, by: rows
    query = QueryServiceStub(signed.rpc.channel)
    request = query_pb.QueryItemsRequest(source="parts")
    first = query.QueryItems(request, metadata=metadata, timeout=TIMEOUT_S)
    assert rows.running.wait(TIMEOUT_S)

    error = failure(lambda: list(query.QueryItems(request, metadata=metadata, timeout=TIMEOUT_S)))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "'ann' has 1 direct query streams on this server" in (error.details() or "")
    first.cancel()


def test_one_principal_makes_so_many_calls_a_second(make: Callable[..., Signed]) -> None:
    signed = make(principal_calls_per_s=5)
    hers, _ = signed.sign_in("ann", (Role.VIEWER, PARTS))
    his, _ = signed.sign_in("ben", (Role.VIEWER, PARTS))
    stub = access_service_pb2_grpc.AccessServiceStub(signed.rpc.channel)

    def who(metadata: Any) -> str:
        return str(stub.WhoAmI(access_service_pb2.WhoAmIRequest(), metadata=metadata, timeout=TIMEOUT_S).principal)

    error = failure(lambda: [who(hers) for _ in range(100)])

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "'ann' makes more than 5 calls a second" in (error.details() or "")
    assert 0 < Details(error).of(error_details_pb2.RetryInfo).retry_delay.ToNanoseconds() <= 200_000_000
    assert who(his) == "ben"
    wait_until(lambda: _lets_in(lambda: who(hers)))


def test_where_nobody_signs_in_nobody_is_limited(make_world: Callable[..., RpcWorld]) -> None:
    world = make_world(principal_calls_per_s=1, principal_watchers=1)
    world.store(a_job())
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)

    calls = [stub.WatchJob(job_service_pb2.WatchJobRequest(job_id=JOB_ID), timeout=TIMEOUT_S) for _ in range(5)]

    assert [next(call).job.job_id for call in calls] == [JOB_ID] * 5


def _lets_in(call: Callable[[], Any]) -> bool:
    try:
        call()
    except grpc.RpcError:
        return False
    return True
