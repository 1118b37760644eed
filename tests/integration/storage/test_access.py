"""Tokens of a server's own operator: they end by PostgreSQL's clock unless they are renewed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.access import called
from tests.support.waiting import wait_until

from blade_server.app import operator
from blade_server.core.access.server_identity import ServerIdentity
from blade_server.core.access.tokens import new_token
from blade_server.model.access import Kind, Token
from blade_server.model.audit import AuditFilter
from blade_server.storage.access import AccessStore
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.rights import RightsStore

OWN = Token(token_id="own", principal="admin", kind=Kind.ADMIN)


@pytest.fixture
def store(postgres_url: str) -> Iterator[AccessStore]:
    database = Database(postgres_url, pool_size=2)
    yield AccessStore(database)
    database.close()


def test_a_token_ends_after_its_lifetime_unless_it_is_renewed(store: AccessStore) -> None:
    store.admit(OWN, b"hash", lifetime_s=0.2)
    assert store.token("own") is not None
    wait_until(lambda: store.token("own") is None)

    assert store.renew("own", 60.0)
    assert store.token("own") is not None
    store.dismiss("own")
    assert not store.renew("own", 60.0)
    assert store.token("own") is None


def test_one_that_has_ended_goes_with_the_next_and_others_stay(store: AccessStore) -> None:
    store.admit(OWN, b"hash", lifetime_s=-1.0)
    store.admit(Token(token_id="next", principal="admin", kind=Kind.ADMIN), b"hash")
    store.admit(Token(token_id="dead", principal="me", kind=Kind.TOKEN), b"hash", lifetime_s=-1.0)
    store.admit(Token(token_id="third", principal="admin", kind=Kind.ADMIN), b"hash")

    assert not store.renew("own", 60.0)
    assert store.renew("dead", 60.0)
    assert store.token("next") is not None


def test_a_start_does_not_bring_back_a_token_that_was_revoked(
    store: AccessStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token_id, token = new_token()
    file = tmp_path / "admin-token"
    file.write_text(token)
    operator.admit(store, file)
    operator.admit(store, file)
    assert store.token(token_id) is not None

    RightsStore(store._database).revoke_token(token_id, by=called(), reason="it leaked", needs_admin=False)
    operator.admit(store, file)

    assert store.token(token_id) is None
    assert f"token {token_id} was revoked" in caplog.text
    assert token not in caplog.text


def test_the_audit_log_has_who_was_let_in_beside_the_server(
    store: AccessStore, tmp_path: Path, postgres_url: str
) -> None:
    token_id, token = new_token()
    file = tmp_path / "admin-token"
    file.write_text(token)
    operator.admit(store, file)
    operator.admit(store, file)
    made_id = operator.create(postgres_url, 60.0, "otto").split("_")[1]

    entries = AuditStore(store._database).page(AuditFilter(), before=None, limit=9)
    assert [(entry.fields["method"], entry.fields["object"]) for entry in reversed(entries)] == [
        ("BLADE_ADMIN_TOKEN_FILE", f"token:{token_id}"),
        ("blade create-admin-token", f"token:{made_id}"),
    ]


def test_a_server_renews_its_own_and_brings_it_back(
    store: AccessStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "RENEWED_S", 0.05)
    own = operator.OwnToken(store, ServerIdentity(), tmp_path / "tokens")
    token_id = own._token_id

    async def live() -> None:
        await own.open("127.0.0.1", 1, 2)
        store.renew(token_id, -1.0)
        await asyncio.to_thread(wait_until, lambda: store.token(token_id) is not None)
        store.dismiss(token_id)
        await asyncio.to_thread(wait_until, lambda: store.token(token_id) is not None)
        await own.close()

    asyncio.run(live())
    assert store.token(token_id) is None
    assert list((tmp_path / "tokens").iterdir()) == []
