"""Tokens and grants, over a real PostgreSQL: who gets in, who is left, and what is said to whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy
from tests.support.access import called, called_by

from blade_server.core.access.door import Door, Shown
from blade_server.core.access.method import Needs
from blade_server.core.access.rights import Rights
from blade_server.core.access.tokens import hash_of, new_token
from blade_server.errors import AccessDenied, BladeError, Invalid, NotFound, Precondition, Unauthenticated
from blade_server.model import Classification, RowMapping, Source, SourceConfig
from blade_server.model.access import Grant, Kind, Principal, Role, Token
from blade_server.model.policy import AccessPolicy
from blade_server.storage.access import AccessStore
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.rights import RightsStore
from blade_server.storage.sources import SourceStore

ROOT = called_by("root", Role.ADMIN, (Role.ADMIN, "*"))
ORDER = ("UNCLASS", "CUI", "SECRET")
NEEDS_EDITOR = Needs(role=Role.EDITOR, anywhere=True)


class World:
    """One server's view of a database."""

    def __init__(self, url: str, **policy: Any) -> None:
        self.database = Database(url, pool_size=4)
        self.access = AccessStore(self.database)
        self.door = Door(AccessPolicy(**policy), self.access)
        self.sources = SourceStore(self.database)
        self.rights = Rights(RightsStore(self.database), self.sources, self.door, ORDER)

    def signs_in(self, secret: str) -> Principal:
        return self.door.identify(Shown(authorization=f"Bearer {secret}"))

    def admin(self, name: str) -> tuple[str, str]:
        """The ids of a new admin's token and grant."""
        _, token = self.rights.create_token(name, by=ROOT, grants=[Grant(role=Role.ADMIN)])
        ((grant,), _) = self.rights.grants(by=ROOT, principal=name)
        return token.token_id, grant.grant_id

    def execute(self, statement: str) -> None:
        with self.database.begin() as connection:
            connection.execute(sqlalchemy.text(statement))

    def count(self, table: str) -> int:
        with self.database.begin() as connection:
            return int(connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.fixture
def make_world(postgres_url: str) -> Iterator[Callable[..., World]]:
    worlds = []

    def make(**policy: Any) -> World:
        worlds.append(World(postgres_url, **policy))
        return worlds[-1]

    yield make
    for world in worlds:
        world.database.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world()
    for name, data_type in (("parts", "part"), ("salaries", "salary")):
        config = SourceConfig(catalog="main", schema="s", table=name)
        mapping = RowMapping(item_id="{id}", classification=Classification(value="UNCLASS"))
        new = Source(name=name, display_name=name, data_type=data_type, enabled=True, config=config, mapping=mapping)
        world.sources.add(new, by=called())
    return world


# ---------------------------------------------------------------------------------------------------------- tokens


def test_a_token_signs_its_principal_in_with_his_grants_and_is_kept_as_a_hash_only(world: World) -> None:
    grants = [Grant(role=Role.READER, scope="source:parts"), Grant(role=Role.VIEWER, scope="data_type:salary")]
    secret, token = world.rights.create_token("ann", by=ROOT, description="for the night run", grants=grants)

    who = world.signs_in(secret)

    assert (who.name, who.kind) == ("ann", Kind.TOKEN)
    assert {(grant.role, grant.scope, grant.created_by) for grant in who.grants} == {
        (Role.READER, "source:parts", "root"),
        (Role.VIEWER, "data_type:salary", "root"),
    }
    assert (token.created_by, token.description) == ("root", "for the night run")
    with world.database.begin() as connection:
        row = connection.execute(sqlalchemy.text("SELECT t::text, hash FROM access_token t")).one()
    assert secret not in row[0]
    assert bytes(row.hash) == hash_of(secret)


def test_a_token_lives_ninety_days_or_as_long_as_is_said(world: World) -> None:
    _, by_default = world.rights.create_token("ann", by=ROOT)
    _, for_ever = world.rights.create_token("ben", by=ROOT, lifetime_s=0)
    _, short = world.rights.create_token("cid", by=ROOT, lifetime_s=60)

    def lives(token: Token) -> float:
        assert token.expire_time is not None
        assert token.create_time is not None
        return (token.expire_time - token.create_time).total_seconds()

    assert lives(by_default) == pytest.approx(timedelta(days=90).total_seconds(), abs=5)
    assert for_ever.expire_time is None
    assert lives(short) == pytest.approx(60, abs=5)


@pytest.mark.parametrize("lifetime_s", [59.9, -1.0, 1e12])
def test_a_lifetime_is_a_minute_at_least(world: World, lifetime_s: float) -> None:
    with pytest.raises(Invalid, match="lifetime"):
        world.rights.create_token("ann", by=ROOT, lifetime_s=lifetime_s)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "ä", "x" * 101, "a\0", "a|b"])
def test_a_principal_has_a_name_of_plain_characters(world: World, name: str) -> None:
    with pytest.raises(Invalid, match="principal"):
        world.rights.create_token(name, by=ROOT)


def test_a_third_good_token_is_refused_until_one_is_revoked_or_over(world: World) -> None:
    _, first = world.rights.create_token("ann", by=ROOT)
    _, second = world.rights.create_token("ann", by=ROOT)

    with pytest.raises(Precondition, match=f"{min(first.token_id, second.token_id)}.*revoke one first") as refused:
        world.rights.create_token("ann", by=ROOT)
    assert refused.value.reason == "ACCESS_STATE"

    world.rights.revoke_token(first.token_id, by=ROOT)
    world.rights.create_token("ann", by=ROOT)
    world.execute(f"UPDATE access_token SET expire_time = now() WHERE token_id = '{second.token_id}'")
    world.rights.create_token("ann", by=ROOT)


def test_two_good_tokens_are_not_three_when_many_ask_at_once(world: World) -> None:
    def create(_: int) -> str:
        try:
            world.rights.create_token("ann", by=ROOT)
        except Precondition:
            return "refused"
        return "made"

    with ThreadPoolExecutor(4) as pool:
        ended = sorted(pool.map(create, range(6)))

    assert ended == ["made"] * 2 + ["refused"] * 4


def test_a_grant_that_cannot_be_leaves_no_token_behind(world: World) -> None:
    grants = [Grant(role=Role.READER, scope="source:parts"), Grant(role=Role.READER, scope="source:nothing")]

    with pytest.raises(NotFound, match="there is no source 'nothing'"):
        world.rights.create_token("ann", by=ROOT, grants=grants)

    assert (world.count("access_token"), world.count("access_grant")) == (0, 0)


def test_a_revoked_token_is_useless_at_once_on_the_server_that_was_told(world: World) -> None:
    secret, token = world.rights.create_token("ann", by=ROOT)
    world.signs_in(secret)

    revoked = world.rights.revoke_token(token.token_id, by=ROOT)
    again = world.rights.revoke_token(token.token_id, by=ROOT)

    assert revoked.revoke_time is not None
    assert again.revoke_time == revoked.revoke_time
    with pytest.raises(Unauthenticated):
        world.signs_in(secret)


def test_what_was_found_while_somebody_changed_rights_is_not_remembered(world: World) -> None:
    secret, _ = world.rights.create_token("ann", by=ROOT)
    looked_up = world.access.token

    def slow(token_id: str) -> Any:
        found = looked_up(token_id)
        world.rights.revoke_token(token_id, by=ROOT)
        return found

    world.access.token = slow  # type: ignore[method-assign]
    world.signs_in(secret)
    world.access.token = looked_up  # type: ignore[method-assign]

    with pytest.raises(Unauthenticated):
        world.signs_in(secret)


def test_what_does_not_exist_cannot_be_revoked(world: World) -> None:
    with pytest.raises(NotFound, match="there is no token 'x'") as token:
        world.rights.revoke_token("x", by=ROOT)
    with pytest.raises(NotFound, match="there is no grant 'x'") as grant:
        world.rights.revoke_grant("x", by=ROOT)
    assert {token.value.reason, grant.value.reason} == {"ACCESS_NOT_FOUND"}
    for call in (world.rights.revoke_token, world.rights.revoke_grant):
        with pytest.raises(Invalid, match="is required"):
            call("", by=ROOT)


def test_lists_come_in_pages_that_are_bound_to_their_reader(world: World) -> None:
    for name in ("ann", "ben", "cid"):
        world.admin(name)
    world.rights.create_token("ann", by=ROOT)

    pages: list[str] = []
    next_page_token = ""
    while True:
        page, next_page_token = world.rights.tokens(by=ROOT, page_size=2, page_token=next_page_token)
        pages += [token.token_id for token in page]
        if not next_page_token:
            break
    assert pages == sorted(set(pages))
    assert len(pages) == 4

    _, of_tokens = world.rights.tokens(by=ROOT, page_size=1)
    _, of_grants = world.rights.grants(by=ROOT, page_size=1)
    other = called_by("other", Role.ADMIN, (Role.ADMIN, "*"))
    for list_ in (world.rights.tokens, world.rights.grants):
        page_token = of_tokens if list_ == world.rights.tokens else of_grants
        assert list_(by=ROOT, page_token=page_token)[0]
        with pytest.raises(Invalid, match="page_token"):
            list_(by=other, page_token=page_token)
        with pytest.raises(Invalid, match="page_token"):
            list_(by=ROOT, page_token=page_token, principal="ann")
    assert {found.principal for found in world.rights.tokens(by=ROOT, principal="ann")[0]} == {"ann"}


# ---------------------------------------------------------------------------------------------------------- grants


def test_the_same_grant_again_is_the_stored_one(world: World) -> None:
    asked = Grant(role=Role.READER, scope="source:parts", principal="ann")

    first = world.rights.create_grant(asked, by=ROOT)
    again = world.rights.create_grant(asked, by=called_by("other", Role.ADMIN, (Role.ADMIN, "*")))

    assert again == first
    assert first.created_by == "root"
    assert world.count("access_grant") == 1


def test_a_grant_for_a_group_holds_for_whoever_is_in_it(world: World) -> None:
    world.rights.create_grant(Grant(role=Role.READER, scope="data_type:part", group="engineers"), by=ROOT)

    assert world.door.principal("ann", ["engineers"]).on(Role.READER, "parts", "part")
    assert not world.door.principal("ann", ["others"]).grants
    assert not world.door.principal("engineers", []).grants


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("source:nothing", "there is no source 'nothing'"),
        ("data_type:nothing", "no source has the data type 'nothing'"),
    ],
)
def test_a_grant_is_on_something_that_there_is(world: World, scope: str, words: str) -> None:
    with pytest.raises(NotFound, match=words):
        world.rights.create_grant(Grant(role=Role.READER, scope=scope, principal="ann"), by=ROOT)


@pytest.mark.parametrize(
    "grant",
    [
        Grant(role=Role.READER, scope="", principal="ann"),
        Grant(role=Role.READER, scope="parts", principal="ann"),
        Grant(role=Role.READER, scope="source:", principal="ann"),
        Grant(role=Role.READER, scope="source:*", principal="ann"),
        Grant(role=Role.READER, scope="* ", principal="ann"),
        Grant(role=Role.ADMIN, scope="source:parts", principal="ann"),
        Grant(role=Role.AUDITOR, scope="data_type:part", principal="ann"),
        Grant(role=Role.READER),
        Grant(role=Role.READER, principal="ann", group="engineers"),
        Grant(role=Role.READER, principal="a\nb"),
        Grant(role=Role.READER, group="g" * 201),
    ],
)
def test_a_grant_that_says_nothing_clear_is_refused(world: World, grant: Grant) -> None:
    with pytest.raises(Invalid):
        world.rights.create_grant(grant, by=ROOT)
    assert world.count("access_grant") == 0


# ---------------------------------------------------------------------------------------------------------- the last


def test_the_last_admin_can_be_revoked_neither_by_token_nor_by_grant(world: World) -> None:
    token_id, grant_id = world.admin("ann")

    for call, about in ((world.rights.revoke_token, token_id), (world.rights.revoke_grant, grant_id)):
        with pytest.raises(Precondition, match="nobody could give access any more") as refused:
            call(about, by=ROOT)
        assert refused.value.reason == "ACCESS_STATE"
    assert world.rights.tokens(by=ROOT)[0][0].revoke_time is None
    assert world.count("access_grant") == 1


@pytest.mark.parametrize(
    "other",
    [
        Grant(role=Role.ADMIN, principal="somebody-of-the-provider"),
        Grant(role=Role.ADMIN, group="admins"),
    ],
)
def test_an_admin_may_go_when_somebody_else_can_sign_in_as_one(world: World, other: Grant) -> None:
    token_id, _ = world.admin("ann")
    world.rights.create_grant(other, by=ROOT)

    world.rights.revoke_token(token_id, by=ROOT)


@pytest.mark.parametrize("state", ["revoke_time = now()", "expire_time = now()"])
def test_an_admin_whose_token_is_not_good_is_nobody(world: World, state: str) -> None:
    token_id, _ = world.admin("ann")
    world.admin("ben")
    world.execute(f"UPDATE access_token SET {state} WHERE principal = 'ben'")

    with pytest.raises(Precondition):
        world.rights.revoke_token(token_id, by=ROOT)


def test_an_operators_own_token_is_an_admin_that_is_left(world: World) -> None:
    token_id, _ = world.admin("ann")
    own_id, own = new_token()
    world.access.admit(Token(token_id=own_id, principal="admin", kind=Kind.ADMIN), hash_of(own))

    world.rights.revoke_token(token_id, by=ROOT)


@pytest.mark.parametrize("policy", [{"admins": frozenset({"group:admins"})}, {"required": False}])
def test_with_admins_beside_the_table_nothing_is_refused(
    make_world: Callable[..., World], policy: dict[str, Any]
) -> None:
    world = make_world(**policy)
    token_id, grant_id = world.admin("ann")

    world.rights.revoke_grant(grant_id, by=ROOT)
    world.rights.revoke_token(token_id, by=ROOT)


def test_of_two_admins_who_revoke_each_other_at_once_one_is_left(make_world: Callable[..., World]) -> None:
    servers = [make_world(), make_world()]
    for _ in range(10):
        grants = [servers[0].admin(name)[1] for name in ("ann", "ben")]
        together = threading.Barrier(2)

        def revoke(at: int, grants: list[str] = grants, together: threading.Barrier = together) -> str:
            together.wait()
            try:
                servers[at].rights.revoke_grant(grants[at], by=ROOT)
            except Precondition:
                return "refused"
            return "revoked"

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(revoke, range(2))) == ["refused", "revoked"]
        assert servers[0].count("access_grant") == 1
        servers[0].execute("DELETE FROM access_grant; DELETE FROM access_token")


# ---------------------------------------------------------------------------------------------------------- checks


def test_a_check_says_what_the_call_would(world: World) -> None:
    ann = called_by("ann", Role.VIEWER, (Role.EDITOR, "source:parts"), (Role.VIEWER, "data_type:salary"))

    def check(source: str) -> str:
        return world.rights.check(NEEDS_EDITOR, by=ann, source=source).refusal

    assert check("parts") == ""
    assert check("") == ""
    assert "needs the role EDITOR on source 'salaries'" in check("salaries")
    assert "needs the role ADMIN on the server as a whole" in (
        world.rights.check(Needs(role=Role.ADMIN, anywhere=False), by=ann).refusal
    )
    allowed = world.rights.check(NEEDS_EDITOR, by=ann, source="parts").grants
    assert [grant.scope for grant in allowed] == ["source:parts"]
    assert world.rights.check(Needs(role=None, anywhere=False), by=ann).refusal == ""


def test_a_check_does_not_tell_of_a_source_that_one_may_not_see(world: World) -> None:
    ann = called_by("ann", Role.VIEWER, (Role.EDITOR, "source:parts"))

    unseen = world.rights.check(NEEDS_EDITOR, by=ann, source="salaries").refusal
    unknown = world.rights.check(NEEDS_EDITOR, by=ann, source="salariez").refusal

    assert unseen == "there is no source 'salaries'"
    assert unknown == "there is no source 'salariez'"


def test_somebody_elses_rights_are_for_admins(world: World) -> None:
    world.rights.create_grant(Grant(role=Role.EDITOR, scope="source:parts", group="engineers"), by=ROOT)
    ann = called_by("ann", Role.VIEWER, (Role.EDITOR, "*"))

    for others in ({"principal": "ben"}, {"groups": ["engineers"]}, {"principal": "ann", "groups": ["engineers"]}):
        with pytest.raises(AccessDenied, match="ADMIN"):
            world.rights.check(NEEDS_EDITOR, by=ann, **others)
    assert world.rights.check(NEEDS_EDITOR, by=ann, principal="ann").refusal == ""
    assert not world.rights.check(NEEDS_EDITOR, by=ROOT, principal="ben", groups=["engineers"], source="parts").refusal
    assert "'ben' needs the role EDITOR" in world.rights.check(NEEDS_EDITOR, by=ROOT, principal="ben").refusal


def test_a_check_is_no_refusal_when_postgresql_is_away(make_world: Callable[..., World]) -> None:
    world = make_world()
    away = Database("postgresql+psycopg2://x@127.0.0.1:1/nothing", pool_size=1)
    rights = Rights(RightsStore(away), SourceStore(away), world.door, ORDER)

    with pytest.raises(BladeError) as caught:
        rights.check(NEEDS_EDITOR, by=ROOT, source="parts")
    assert caught.value.transient


def test_a_grant_goes_with_its_source_and_is_not_on_the_next_one_of_that_name(world: World) -> None:
    secret, _ = world.rights.create_token(
        "ann", by=ROOT, grants=[Grant(role=Role.READER, scope=scope) for scope in ("source:parts", "data_type:salary")]
    )
    parts = world.sources.get("parts", ROOT.sees)
    before = AuditStore(world.database).head().number

    world.sources.remove("parts", by=ROOT)
    world.sources.add(parts, by=ROOT)

    told = [entry.fields for entry in AuditStore(world.database).after(before, limit=9)]
    assert [entry["object"].partition(":")[0] for entry in told] == ["source", "grant", "source"]
    assert told[1]["detail"] == "READER on source:parts for ann, with the source"
    assert [grant.scope for grant in world.signs_in(secret).grants] == ["data_type:salary"]


# --------------------------------------------------------------------------------------------------------- ceilings


def test_a_grant_has_a_ceiling_and_the_same_with_another_is_another(world: World) -> None:
    made = [
        world.rights.create_grant(Grant(role=Role.READER, principal="ann", ceiling=ceiling), by=ROOT)
        for ceiling in ("CUI", "UNCLASS", "CUI", "")
    ]
    assert [grant.ceiling for grant in made] == ["CUI", "UNCLASS", "CUI", ""]
    assert len({grant.grant_id for grant in made}) == 3
    listed, _ = world.rights.grants(by=ROOT, principal="ann")
    assert sorted(grant.ceiling for grant in listed) == ["", "CUI", "UNCLASS"]


def test_a_token_comes_with_grants_up_to_a_ceiling(world: World) -> None:
    grants = [Grant(role=Role.OPERATOR, scope="source:parts", ceiling="CUI")]
    secret, _ = world.rights.create_token("ann", by=ROOT, grants=grants)
    who = world.signs_in(secret)
    assert [grant.ceiling for grant in who.grants] == ["CUI"]
    assert who.ceiling(Role.READER, "parts", "part", ORDER) == "CUI"


@pytest.mark.parametrize(
    ("role", "ceiling", "wrong"),
    [
        (Role.READER, "NOFORN", "'NOFORN' is not one of this server's BLADE_CLASSIFICATIONS: UNCLASS, CUI, SECRET"),
        (Role.READER, "cui", "'cui' is not one"),
        (Role.EDITOR, "CUI", "is for READER and OPERATOR, not for EDITOR"),
        (Role.VIEWER, "CUI", "not for VIEWER"),
        (Role.ADMIN, "CUI", "not for ADMIN"),
        (Role.AUDITOR, "CUI", "not for AUDITOR"),
    ],
)
def test_a_ceiling_is_a_classification_and_for_those_who_read(
    world: World, role: Role, ceiling: str, wrong: str
) -> None:
    grant = Grant(role=role, principal="ann", ceiling=ceiling)
    for field, call in (
        ("grant.ceiling", lambda: world.rights.create_grant(grant, by=ROOT)),
        ("grants[0].ceiling", lambda: world.rights.create_token("ann", by=ROOT, grants=[grant])),
    ):
        with pytest.raises(Invalid) as caught:
            call()
        assert [violation.field for violation in caught.value.violations] == [field]
        assert wrong in caught.value.message
    assert world.count("access_grant") == 0


@pytest.mark.parametrize(
    ("grants", "role", "ceiling"),
    [
        ([(Role.READER, "*", "CUI")], Role.READER, "CUI"),
        ([(Role.READER, "*", "CUI"), (Role.READER, "source:parts", "SECRET")], Role.READER, "SECRET"),
        ([(Role.READER, "*", "CUI"), (Role.READER, "data_type:salary", "")], Role.READER, "CUI"),
        ([(Role.READER, "*", "CUI"), (Role.READER, "data_type:part", "")], Role.READER, ""),
        ([(Role.READER, "*", ""), (Role.OPERATOR, "*", "CUI")], Role.OPERATOR, "CUI"),
        ([(Role.READER, "*", "UNCLASS"), (Role.OPERATOR, "*", "CUI")], Role.READER, "CUI"),
        ([(Role.READER, "*", "CUI"), (Role.ADMIN, "*", "")], Role.READER, ""),
        ([(Role.READER, "*", "GONE")], Role.READER, "GONE"),
        ([(Role.READER, "*", "GONE"), (Role.READER, "*", "UNCLASS")], Role.READER, "UNCLASS"),
    ],
)
def test_the_highest_ceiling_counts(grants: list[tuple[Role, str, str]], role: Role, ceiling: str) -> None:
    his = tuple(Grant(role=role, scope=scope, ceiling=upto) for role, scope, upto in grants)
    who = Principal(name="ann", kind=Kind.TOKEN, grants=his)
    assert who.ceiling(role, "parts", "part", ORDER) == ceiling


def test_the_audit_log_says_up_to_what(world: World) -> None:
    world.rights.create_grant(Grant(role=Role.READER, principal="ann", ceiling="CUI"), by=ROOT)
    query = "SELECT content::jsonb ->> 'detail' FROM audit_entry WHERE object LIKE 'grant:%'"
    with world.database.begin() as connection:
        said = connection.execute(sqlalchemy.text(query)).scalars().all()
    assert said == ["READER on * up to CUI for ann"]
