"""`client.access` and `client.audit`: what is asked, and what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from blade.v1 import access_service_pb2 as access
from blade.v1 import audit_service_pb2 as audit
from blade.v1.access_pb2 import ADMIN, READER, Grant
from blade_client import errors

ON_ALL = Grant(role=READER, scope="*")

CASES = [
    (
        "CheckAccess",
        lambda b: b.access.check("blade.v1.JobService/GetJob", source="s", principal="p", groups=["g"]),
        {"method": "blade.v1.JobService/GetJob", "source": "s", "principal": "p", "groups": ["g"]},
        access.CheckAccessResponse(allowed=True),
        access.CheckAccessResponse(allowed=True),
    ),
    (
        "CreateToken",
        lambda b: b.access.create_token("p", description="d", lifetime=timedelta(hours=1), grants=[ON_ALL]),
        {"principal": "p", "description": "d", "lifetime": timedelta(hours=1), "grants": [ON_ALL]},
        access.CreateTokenResponse(secret="blade_x_y"),
        access.CreateTokenResponse(secret="blade_x_y"),
    ),
    (
        "RevokeToken",
        lambda b: b.access.revoke_token("t", "lost"),
        {"token_id": "t", "reason": "lost"},
        access.RevokeTokenResponse(token={"token_id": "t"}),
        access.Token(token_id="t"),
    ),
    (
        "CreateGrant",
        lambda b: b.access.create_grant("reader", group="g", scope="source:s", ceiling="CUI", reason="new"),
        {"grant": Grant(role=READER, group="g", scope="source:s", ceiling="CUI"), "reason": "new"},
        access.CreateGrantResponse(grant=ON_ALL),
        ON_ALL,
    ),
    (
        "RevokeGrant",
        lambda b: b.access.revoke_grant("g", "gone"),
        {"grant_id": "g", "reason": "gone"},
        access.RevokeGrantResponse(),
        None,
    ),
    (
        "VerifyAuditLog",
        lambda b: b.audit.verify(anchor_number=7, anchor_hash="ab"),
        {"anchor_number": 7, "anchor_hash": "ab"},
        audit.VerifyAuditLogResponse(intact=True),
        audit.VerifyAuditLogResponse(intact=True),
    ),
]


@pytest.mark.parametrize(("rpc", "call", "fields", "answer", "result"), CASES, ids=[case[0] for case in CASES])
def test_a_method_sends_what_it_was_given_and_returns_what_came(
    server, blade, rpc, call, fields, answer, result
) -> None:
    server.on(rpc, answer)
    assert call(blade) == result
    (request,) = server.asked(rpc)
    assert request == type(request)(**fields)


def test_a_lifetime_of_nothing_is_for_ever_and_none_is_the_servers_default(server, blade) -> None:
    server.on("CreateToken", access.CreateTokenResponse())
    blade.access.create_token("p", lifetime=timedelta(0))
    blade.access.create_token("p")
    assert [request.HasField("lifetime") for request in server.asked("CreateToken")] == [True, False]


def test_who_am_i_of_the_fake_may_do_everything(blade) -> None:
    me = blade.access.who_am_i()
    assert (me.kind, me.grants[0].role, me.grants[0].scope) == ("off", ADMIN, "*")


def test_a_role_that_is_none_is_refused_before_the_call(server, blade) -> None:
    with pytest.raises(ValueError, match="BOSS"):
        blade.access.create_grant("boss", principal="p")
    assert server.requests == []


LISTS = [
    ("ListTokens", "tokens", access.Token, "token_id", lambda b: b.access.list_tokens(principal="p", page_size=1)),
    ("ListGrants", "grants", Grant, "grant_id", lambda b: b.access.list_grants(group="g", page_size=1)),
    ("ListAuditEntries", "entries", audit.AuditEntry, "hash", lambda b: b.audit.list(principal="p", page_size=1)),
]


@pytest.mark.parametrize(("rpc", "field", "kind", "key", "call"), LISTS, ids=[case[0] for case in LISTS])
def test_a_list_goes_through_all_pages(server, blade, rpc, field, kind, key, call) -> None:
    module = access if hasattr(access, f"{rpc}Response") else audit
    answer = getattr(module, f"{rpc}Response")
    server.on(
        rpc, answer(**{field: [kind(**{key: "1"})], "next_page_token": "n"}), answer(**{field: [kind(**{key: "2"})]})
    )
    assert [getattr(one, key) for one in call(blade)] == ["1", "2"]
    assert [request.page_token for request in server.asked(rpc)] == ["", "n"]
    assert {(request.principal or request.group, request.page_size) for request in server.asked(rpc)} in (
        {("p", 1)},
        {("g", 1)},
    )


def test_the_audit_log_is_filtered_by_all_that_it_can_be(server, blade) -> None:
    server.on("ListAuditEntries", audit.ListAuditEntriesResponse())
    since = datetime(2026, 1, 10, tzinfo=UTC)
    list(blade.audit.list(method="CancelJob", about="job:j", outcomes=["REFUSED"], after=since, before=since))
    (request,) = server.asked("ListAuditEntries")
    assert (request.method, request.object, list(request.outcomes)) == ("CancelJob", "job:j", [4])
    assert request.after.ToDatetime(tzinfo=UTC) == request.before.ToDatetime(tzinfo=UTC) == since
    with pytest.raises(ValueError, match="time zone"):
        list(blade.audit.list(after=datetime(2026, 1, 10)))  # noqa: DTZ001


def test_an_export_is_read_entry_by_entry(server, blade) -> None:
    chunks = [audit.ExportAuditLogResponse(entries=[{"content": bytes([n])}, {"content": b"x"}]) for n in range(2)]
    server.on("ExportAuditLog", chunks)
    assert [entry.content for entry in blade.audit.export(first=3)] == [b"\0", b"x", b"\1", b"x"]
    assert server.asked("ExportAuditLog")[0].first == 3


def test_making_a_token_is_not_repeated_by_itself(server, blade) -> None:
    server.on("CreateToken", errors.Unavailable("away", reason="STORAGE_UNAVAILABLE"))
    with pytest.raises(errors.Unavailable):
        blade.access.create_token("p")
    assert len(server.asked("CreateToken")) == 1


def test_what_the_fake_does_not_answer_it_says(server, blade) -> None:
    with pytest.raises(errors.ServerError) as caught:
        list(blade.access.list_tokens())
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
