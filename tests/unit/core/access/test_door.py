"""What the door remembers, and whose word it takes for what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.waiting import wait_until

from blade_server.core.access import door
from blade_server.core.access.door import Door, Shown
from blade_server.errors import Unauthenticated
from blade_server.model.access import Grant, Kind, Role
from blade_server.model.policy import AccessPolicy
from blade_server.oidc import Identity

JWT = Shown(authorization="Bearer a.b.c")
VIEWER = Grant(role=Role.VIEWER, principal="ann")


def door_of(end: datetime, *, admins: tuple[str, ...] = ()) -> tuple[Door, list[str]]:
    """A door with a provider that knows one token, and what the provider was shown."""
    shown = []

    def identify(token: str) -> Identity:
        shown.append(token)
        return Identity(subject="ann", groups=frozenset({"crew"}), expire_time=end)

    store: Any = SimpleNamespace(grants_of=lambda name, groups: [VIEWER], token=lambda token_id: None)
    provider: Any = SimpleNamespace(identify=identify)
    return Door(AccessPolicy(admins=frozenset(admins)), store, provider), shown


def test_nobody_is_remembered_past_the_end_of_his_token() -> None:
    known, _ = door_of(datetime.now(UTC) + timedelta(seconds=0.3))
    known.identify(JWT)
    assert known.remembered(JWT) is not None
    wait_until(lambda: known.remembered(JWT) is None, timeout_s=door.REMEMBERED_S - 1)

    over, shown = door_of(datetime.now(UTC) - timedelta(seconds=30))  # good yet, because clocks differ
    over.identify(JWT)
    over.identify(JWT)
    assert shown == ["a.b.c", "a.b.c"]


def test_who_is_known_is_asked_for_once() -> None:
    known, shown = door_of(datetime.now(UTC) + timedelta(hours=1))
    assert known.identify(JWT) == known.identify(JWT) == known.remembered(JWT)
    assert shown == ["a.b.c"]


def test_however_a_token_is_padded_it_is_remembered_once_and_not_word_by_word() -> None:
    known, shown = door_of(datetime.now(UTC) + timedelta(hours=1))
    for authorization in ("Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", f"Bearer {'':8000}a.b.c{'':8000}"):
        known.identify(Shown(authorization=authorization))
    assert shown == ["a.b.c"]
    assert all(isinstance(key, bytes) and len(key) == 32 for key in known._remembered)


@pytest.mark.parametrize("text", ["s3cret", "s3cret ", "s3c.r.et x", "blade_abcdefghijkl_s3cret"])
def test_a_token_without_its_scheme_is_in_no_message(text: str) -> None:
    known, _ = door_of(datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Unauthenticated) as refused:
        known.identify(Shown(authorization=text))
    assert str(refused.value).endswith("only 'Bearer TOKEN' is read here")


def test_another_scheme_is_named() -> None:
    known, _ = door_of(datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Unauthenticated, match="read here, not 'Basic'"):
        known.identify(Shown(authorization="Basic s3cret"))


def test_who_shows_something_else_is_somebody_else() -> None:
    keys = {
        Shown(authorization="Bearer x").key,
        Shown(authorization="Basic x").key,
        Shown(authorization="Bearer x", certificate="x").key,
        Shown(certificate="x").key,
        Shown(session="x").key,
        Shown(authorization="Bearer", session="x").key,
        Shown().key,
    }
    assert len(keys) == 7


@pytest.mark.parametrize("admins", [("subject:ann",), ("group:crew",), ("group:x", "group:crew")])
def test_the_operator_makes_him_an_admin(admins: tuple[str, ...]) -> None:
    principal = door_of(datetime.now(UTC) + timedelta(hours=1), admins=admins)[0].identify(JWT)
    assert (principal.name, principal.kind) == ("ann", Kind.JWT)
    assert principal.everywhere(Role.ADMIN)
    assert VIEWER in principal.grants


@pytest.mark.parametrize("admins", [("subject:crew",), ("group:ann",), ()])
def test_and_nobody_else(admins: tuple[str, ...]) -> None:
    principal = door_of(datetime.now(UTC) + timedelta(hours=1), admins=admins)[0].identify(JWT)
    assert principal.grants == (VIEWER,)


def test_without_a_provider_a_token_with_dots_is_good_for_nothing() -> None:
    store: Any = SimpleNamespace(token=lambda token_id: None)
    with pytest.raises(Unauthenticated, match="not good"):
        Door(AccessPolicy(), store).identify(JWT)


@pytest.mark.parametrize("text", ["Bearer a.b", "Bearer abc", "Bearer blade_abcdefghijkl_x", "Basic a.b.c"])
def test_the_provider_sees_nothing_but_tokens_of_its_form(text: str) -> None:
    known, shown = door_of(datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Unauthenticated):
        known.identify(Shown(authorization=text))
    assert shown == []


def test_a_certificate_is_good_to_its_end_and_its_connection_no_longer() -> None:
    known, _ = door_of(datetime.now(UTC))
    ends = datetime.now(UTC) + timedelta(seconds=0.3)
    shown = Shown(certificate="spiffe://x/y", certificate_ends=ends)
    principal = known.identify(shown)
    assert (principal.name, principal.kind, principal.expire_time) == ("spiffe://x/y", Kind.MTLS, ends)
    newer = Shown(certificate="spiffe://x/y", certificate_ends=ends + timedelta(hours=1))
    assert known.remembered(newer) is None, "another certificate of the same name is another one"
    wait_until(lambda: known.remembered(shown) is None, timeout_s=door.REMEMBERED_S - 1)
    with pytest.raises(Unauthenticated, match="certificate is over"):
        known.identify(shown)
    assert known.identify(newer).name == "spiffe://x/y"
    assert known.identify(Shown(certificate="of-unknown-end")).expire_time is None
