"""Sessions of the page over a real PostgreSQL: when they begin, and everything that ends them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from blade_server.core.access import attempts as module
from blade_server.core.access.attempts import AT_ONCE, Attempts
from blade_server.core.access.codes import Codes
from blade_server.core.access.door import Door, Shown
from blade_server.core.access.page_address import PageAddress
from blade_server.core.access.sessions import Browser, Sessions, csrf_token
from blade_server.core.access.tokens import hash_of, new_token
from blade_server.errors import Precondition, QuotaExceeded, StorageUnavailable, Unauthenticated
from blade_server.model.access import Caller, Kind, Principal, Role, Session, Token
from blade_server.model.policy import AccessPolicy
from blade_server.storage.access import AccessStore
from blade_server.storage.audit import AUDIT_LOCK
from blade_server.storage.database import Database
from blade_server.storage.retention import Retention
from blade_server.storage.sessions import SessionStore


def at(address: str, before: str = "") -> Browser:
    return Browser(peer=f"{address}:4711", neighbourhood=address, session=before)


class World:
    def __init__(self, url: str) -> None:
        self.database = Database(url, pool_size=4)
        self.store, self.sessions_stored = AccessStore(self.database), SessionStore(self.database)
        self.door = Door(AccessPolicy(), self.store, sessions=self.sessions_stored)
        self.sessions = Sessions(self.door, self.sessions_stored)
        self.codes = Codes(self.sessions_stored, PageAddress())

    def token(self, principal: str = "rita", kind: Kind = Kind.TOKEN) -> str:
        token_id, token = new_token()
        self.store.admit(Token(token_id=token_id, principal=principal, kind=kind), hash_of(token))
        return token

    def sign_in(self, token: str | None = None, before: str = "") -> str:
        return self.sessions.sign_in(token or self.token(), at("192.0.2.1", before)).session_id

    def sign_out(self, session_id: str) -> None:
        self.sessions.sign_out(at("192.0.2.1", session_id))

    def open(self, hash_: bytes, session: Session) -> datetime:
        return self.sessions_stored.open(hash_, session, how="", address="", instead_of=None).expire_time

    def code(self, token: str | None = None) -> str:
        """For `blade open` of whoever has that token."""
        principal = self.door.identify(Shown(authorization=f"Bearer {token or self.token()}"))
        return self.codes.create(by=Caller(principal=principal, method="x/CreateSignInCode")).text

    def by_code(self, code: str, before: str = "") -> str:
        return self.sessions.sign_in_by_code(code, at("192.0.2.9", before)).session_id

    def told(self) -> list[tuple[str, ...]]:
        """The audit log."""
        names = ("principal", "kind", "address", "method", "detail")
        columns = ", ".join(f"content::jsonb ->> '{name}'" for name in names)
        return [tuple(row) for row in self.run(f"SELECT {columns} FROM audit_entry ORDER BY number").all()]

    def who(self, session_id: str) -> Principal:
        """Asked anew, not remembered."""
        self.door.forget()
        return self.sessions.who(Shown(session=session_id))

    def run(self, statement: str, **values: Any) -> Any:
        with self.database.begin() as connection:
            return connection.execute(text(statement), values)


@pytest.fixture
def world(postgres_url: str) -> Iterator[World]:
    world = World(postgres_url)
    yield world
    world.database.close()


def ended(world: World, session_id: str) -> bool:
    try:
        world.who(session_id)
    except Unauthenticated:
        return True
    return False


def test_a_session_is_its_tokens_principal_with_the_grants_he_has_now(world):
    session_id = world.sign_in()
    assert (world.who(session_id).name, world.who(session_id).kind) == ("rita", Kind.SESSION)
    assert not world.who(session_id).anywhere(Role.VIEWER)
    world.run(
        "INSERT INTO access_grant (grant_id, principal, role, scope, create_time)"
        " VALUES ('g', 'rita', 'READER', '*', now())"
    )
    assert world.who(session_id).everywhere(Role.READER)


def test_the_operators_own_token_may_everything_through_a_session_too(world):
    principal = world.who(world.sign_in(world.token("admin", Kind.ADMIN)))
    assert principal.everywhere(Role.ADMIN)
    assert principal.everywhere(Role.AUDITOR)


def test_neither_the_id_nor_what_changes_carry_stands_in_the_database(world):
    session_id = world.sign_in()
    (row,) = world.run("SELECT web_session::text AS all FROM web_session").all()
    assert session_id not in row.all
    assert csrf_token(session_id) not in row.all
    assert hash_of(session_id).hex() in row.all
    assert len(session_id) == 43  # 32 bytes


def test_ids_are_new_each_time_and_the_one_before_is_over(world):
    token = world.token()
    first = world.sign_in(token)
    second = world.sign_in(token, before=first)
    assert first != second
    assert ended(world, first)
    assert not ended(world, second)


@pytest.mark.parametrize("wrong", ["", "x", "blade_aaaaaaaaaaaa_" + "x" * 43])
def test_what_is_no_session_is_none(world, wrong):
    world.sign_in()
    with pytest.raises(Unauthenticated):
        world.who(wrong)


def test_signing_out_ends_it_at_once(world):
    session_id = world.sign_in()
    assert world.sessions.who(Shown(session=session_id)).name == "rita"
    world.sign_out(session_id)
    with pytest.raises(Unauthenticated):
        world.sessions.who(Shown(session=session_id))


@pytest.mark.parametrize(
    "change",
    ["UPDATE access_token SET revoke_time = now()", "UPDATE access_token SET expire_time = now()",
     "DELETE FROM access_token"],
)  # fmt: skip
def test_it_ends_with_its_token(world, change):
    session_id = world.sign_in()
    assert not ended(world, session_id)
    world.run(change)
    assert ended(world, session_id)


def test_it_ends_after_an_hour_without_use_and_after_twelve_hours_in_any_case(world):
    session_id = world.sign_in()
    world.run("UPDATE web_session SET use_time = now() - interval '59 minutes'")
    assert not ended(world, session_id)  # and so it was used now
    (row,) = world.run("SELECT use_time > now() - interval '1 minute' AS used FROM web_session").all()
    assert row.used
    world.run("UPDATE web_session SET use_time = now() - interval '61 minutes'")
    assert ended(world, session_id)
    session_id = world.sign_in()
    (row,) = world.run("SELECT max(expire_time) - now() AS left FROM web_session").all()
    assert timedelta(hours=11, minutes=59) < row.left <= timedelta(hours=12)
    world.run("UPDATE web_session SET expire_time = now()")
    assert ended(world, session_id)


def test_its_use_is_written_once_a_minute_at_most(world):
    session_id = world.sign_in()
    world.run("UPDATE web_session SET use_time = now() - interval '50 seconds'")
    (before,) = world.run("SELECT use_time, xmin::text FROM web_session").all()
    world.who(session_id)
    assert world.run("SELECT use_time, xmin::text FROM web_session").all() == [before]


def test_one_that_hangs_on_no_token_ends_when_what_it_was_signed_in_with_does(world):
    soon = datetime.now(UTC) + timedelta(minutes=5)
    session = Session(principal="mia", kind=Kind.JWT, groups=frozenset({"ops"}), expire_time=soon)
    assert world.open(b"1", session) == soon
    late = datetime.now(UTC) + timedelta(days=5)
    assert world.open(b"2", Session(principal="mia", kind=Kind.JWT, expire_time=late)) < late
    found = world.sessions_stored.find(b"1")
    assert found is not None
    assert (found.kind, found.groups) == (Kind.JWT, {"ops"})


def test_grants_of_groups_hold_in_a_session(world):
    world.open(hash_of("s"), Session(principal="mia", kind=Kind.JWT, groups=frozenset({"ops"})))
    world.run(
        "INSERT INTO access_grant (grant_id, group_name, role, scope, create_time)"
        " VALUES ('g', 'ops', 'OPERATOR', 'source:parts', now())"
    )
    assert world.who("s").on(Role.OPERATOR, "parts", "maintenance")


def test_sessions_that_are_over_are_deleted_and_no_others(world):
    kept, idle, old = world.sign_in(), world.sign_in(), world.sign_in()
    late = "UPDATE web_session SET {} = now() - interval '2 hours' WHERE hash = :hash"
    world.run(late.format("use_time"), hash=hash_of(idle))
    world.run(late.format("expire_time"), hash=hash_of(old))
    Retention(world.database).forget_sessions()
    assert [bytes(row.hash) for row in world.run("SELECT hash FROM web_session").all()] == [hash_of(kept)]


def test_an_address_that_tries_too_often_has_to_wait_and_others_have_not(world, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for _ in range(AT_ONCE):
        with pytest.raises(Unauthenticated):
            world.sessions.sign_in("wrong", at("192.0.2.1"))
    token = world.token()
    with pytest.raises(QuotaExceeded, match=r"192\.0\.2\.1 .* 6 s") as refused:
        world.sessions.sign_in(token, at("192.0.2.1"))
    assert token not in refused.value.message
    assert world.sessions.sign_in(token, at("192.0.2.2")).principal == "rita"
    now[0] += 7
    assert world.sessions.sign_in(token, at("192.0.2.1")).principal == "rita"
    with pytest.raises(QuotaExceeded):
        world.sessions.sign_in(token, at("192.0.2.1"))


def test_strangers_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "_MAX_KNOWN", 100)
    attempts = Attempts("signs in")
    for number in range(1000):
        attempts.count(f"2001:db8:{number:x}::/64")
    assert len(attempts._paid_at) == 100


def test_where_nobody_signs_in_nobody_does(world):
    door = Door(AccessPolicy(required=False), world.store, sessions=world.sessions_stored)
    sessions = Sessions(door, world.sessions_stored)
    with pytest.raises(Precondition, match="authentication is off"):
        sessions.sign_in(world.token(), at("192.0.2.1"))
    assert sessions.who(Shown(session="anything")).kind is Kind.OFF


def test_signing_out_of_what_is_no_session_makes_the_door_forget_nobody(world):
    shown = Shown(authorization=f"Bearer {world.token()}")
    world.sessions.who(shown)
    world.sign_out("made-up")
    assert world.sessions.remembers(shown)
    world.sign_out(world.sign_in())
    assert not world.sessions.remembers(shown)


@pytest.mark.parametrize("cannot", ["is locked", "is full"])
def test_who_may_call_does_not_hang_on_a_note_of_his_last_call(world: World, cannot: str) -> None:
    token = world.token()
    session = world.sign_in(token)
    world.run("UPDATE web_session SET use_time = now() - interval '2 minutes'")
    world.run("UPDATE access_token SET last_use_time = NULL")
    with world.database.engine.connect() as other:
        if cannot == "is locked":
            other.execute(text("LOCK TABLE access_token, web_session IN SHARE MODE"))
        else:
            world.run(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$"
            )
            for table in ("access_token", "web_session"):
                world.run(
                    f"CREATE TRIGGER full_disk BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()"
                )
        assert world.who(session).name == "rita"
        assert world.door.identify_anew(Shown(authorization=f"Bearer {token}")).name == "rita"


class TestTheAuditLog:
    """Of sign-ins and sign-outs."""

    def test_it_has_each_with_who_how_and_from_where(self, world):
        token = world.token()
        first = world.sign_in(token)
        second = world.sign_in(token, before=first)
        world.sign_out(second)
        world.sign_out(second)
        signed_in = ("rita", "token", "192.0.2.1:4711", "web/SignIn", "by a token")
        out = ("rita", "session", "192.0.2.1:4711", "web/SignOut")
        assert world.told() == [signed_in, (*out, "signed in anew"), signed_in, (*out, "")]

    def test_an_entry_names_the_session_and_nothing_that_opens_one(self, world):
        session_id, code = world.sign_in(), world.code()
        entries = [row.content for row in world.run("SELECT content FROM audit_entry ORDER BY number").all()]
        assert f"session:{hash_of(session_id).hex()[:16]}" in entries[0]
        assert f"code:{hash_of(code).hex()[:16]}" in entries[1]
        assert not [secret for secret in (session_id, code) if secret in "".join(entries)]

    def test_a_sign_in_that_it_cannot_be_told_of_is_none(self, world):
        code = world.code()
        world.run(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$"
        )
        world.run("CREATE TRIGGER full_disk BEFORE INSERT ON audit_entry EXECUTE FUNCTION full_disk()")
        for sign_in in (world.sign_in, lambda: world.by_code(code), world.code):
            with pytest.raises(StorageUnavailable, match="audit log cannot be written"):
                sign_in()
        assert world.run("SELECT count(*) FROM web_session").scalar_one() == 0
        assert world.run("SELECT count(*) FROM sign_in_code").scalar_one() == 1, "it is not used up"
        world.run("DROP TRIGGER full_disk ON audit_entry")
        assert not ended(world, world.by_code(code))

    @pytest.mark.parametrize("by_code", [False, True])
    def test_one_that_is_killed_before_its_end_has_not_been(self, world, wait_until, by_code):
        """PostgreSQL ends the connection between the session's row and the entry."""
        before = world.sign_in()
        code = world.code()
        entries = len(world.told())
        sign_in = (lambda: world.by_code(code, before)) if by_code else (lambda: world.sign_in(before=before))
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with world.database.engine.connect() as other, ThreadPoolExecutor(1) as thread:
            other.execute(text(f"SELECT pg_advisory_xact_lock({AUDIT_LOCK})"))
            killed = thread.submit(sign_in)
            wait_until(lambda: world.run(waiting).all())
            world.run(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) AS found")
            with pytest.raises(StorageUnavailable):
                killed.result(60)
        assert not ended(world, before), "the session before is left as it was"
        assert world.run("SELECT count(*) FROM web_session").scalar_one() == 1
        assert len(world.told()) == entries
        assert not ended(world, world.by_code(code))


class TestACode:
    def test_it_opens_a_session_of_its_maker_once_at_any_server(self, world):
        code = world.code(world.token("olga"))
        elsewhere = Sessions(Door(AccessPolicy(), world.store, sessions=world.sessions_stored), world.sessions_stored)
        session_id = elsewhere.sign_in_by_code(code, at("192.0.2.9")).session_id
        assert world.who(session_id).name == "olga"
        with pytest.raises(Unauthenticated, match="good once, and for a minute"):
            world.by_code(code)
        assert world.told()[-1][:4] == ("olga", "token", "192.0.2.9:4711", "web/SignIn")
        assert world.told()[-1][4] == f"by code {hash_of(code).hex()[:16]}"

    def test_of_two_who_show_it_at_once_one_gets_in(self, world):
        code = world.code()
        with ThreadPoolExecutor(4) as threads:
            found = [each.exception() for each in [threads.submit(world.by_code, code) for _ in range(4)]]
        assert [type(each) for each in found if each] == [Unauthenticated] * 3

    def test_it_ends_after_a_minute_and_is_forgotten(self, world):
        code = world.code()
        (row,) = world.run("SELECT expire_time - now() AS left, sign_in_code::text AS all FROM sign_in_code").all()
        assert timedelta(seconds=55) < row.left <= timedelta(seconds=60)
        assert code not in row.all
        Retention(world.database).forget_sessions()
        assert world.run("SELECT count(*) FROM sign_in_code").scalar_one() == 1
        world.run("UPDATE sign_in_code SET expire_time = now()")
        with pytest.raises(Unauthenticated):
            world.by_code(code)
        Retention(world.database).forget_sessions()
        assert world.run("SELECT count(*) FROM sign_in_code").scalar_one() == 0

    @pytest.mark.parametrize("wrong", ["", "x", "x" * 43])
    def test_what_is_no_code_opens_nothing(self, world, wrong):
        world.code()
        with pytest.raises(Unauthenticated):
            world.by_code(wrong)

    def test_its_session_ends_with_what_its_maker_was_known_by(self, world):
        token = world.token()
        session_id = world.by_code(world.code(token))
        assert not ended(world, session_id)
        world.run("UPDATE access_token SET revoke_time = now()")
        assert ended(world, session_id)
        soon = datetime.now(UTC) + timedelta(minutes=5)
        principal = Principal(name="mia", kind=Kind.JWT, groups=frozenset({"ops"}), expire_time=soon)
        signed_in = world.sessions.sign_in_by_code(
            world.codes.create(by=Caller(principal=principal)).text, at("192.0.2.9")
        )
        assert (signed_in.principal, signed_in.expire_time) == ("mia", soon)
        late = Caller(principal=replace(principal, expire_time=datetime.now(UTC) - timedelta(seconds=1)))
        with pytest.raises(Unauthenticated):
            world.by_code(world.codes.create(by=late).text)

    def test_its_session_takes_the_place_of_the_one_before(self, world):
        first = world.sign_in()
        second = world.by_code(world.code(), before=first)
        assert (ended(world, first), ended(world, second)) == (True, False)

    def test_a_session_makes_none_and_nobody_makes_many(self, world):
        in_session = world.who(world.sign_in())
        with pytest.raises(Precondition, match="a session of the page opens no other one"):
            world.codes.create(by=Caller(principal=in_session))
        token = world.token("often")
        for _ in range(AT_ONCE):
            world.code(token)
        with pytest.raises(QuotaExceeded, match="often opens the page too often"):
            world.code(token)
        assert world.code(world.token("other"))

    def test_where_nobody_signs_in_none_is_needed(self, world):
        by = Caller(principal=Principal(name="anybody", kind=Kind.OFF))
        assert world.codes.create(by=by).text == ""
        assert world.run("SELECT count(*) FROM sign_in_code").scalar_one() == 0
