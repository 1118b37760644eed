"""Few entries for many refusals, and none of them uncounted."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from tests.support.access import called_by

from blade_server.core.audit import refusals as module
from blade_server.core.audit.refusals import STRANGERS_A_MINUTE, Refusals
from blade_server.errors import AccessDenied, Unauthenticated
from blade_server.model.access import AuditOutcome, Caller, Deed, Role

WRONG = Unauthenticated("this token is not good (any more): it is unknown, blade_s3cret")


class World:
    """Refusals, the clock they go by, and what they had written."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.noted: list[tuple[Caller, Deed]] = []
        self.refusals = Refusals(SimpleNamespace(note=lambda *noted: self.noted.append(noted)))  # type: ignore[arg-type]

    def denied(self, name: str, times: int = 1) -> None:
        by = called_by(name, Role.EDITOR)
        for _ in range(times):
            self.refusals.known(by, AccessDenied.of(by, Role.EDITOR, "source 'parts'"))

    def details(self) -> list[str]:
        return [deed.detail for _, deed in self.noted]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: world.now_s))
    return world


def test_a_refusal_says_who_about_what_and_why(world):
    world.denied("otto")
    [(by, deed)] = world.noted
    assert by.principal.name == "otto"
    assert (deed.about, deed.outcome) == ("source:parts", AuditOutcome.REFUSED)
    assert deed.detail == "'otto' needs the role EDITOR on source 'parts'; an ADMIN can grant it"


def test_ten_a_second_for_each_and_the_others_are_counted_in_the_next(world):
    world.denied("otto", 25)
    world.denied("anna", 1)
    assert len(world.noted) == 11
    world.now_s += 1.0
    world.denied("otto", 2)
    assert len(world.noted) == 13
    assert world.details()[11].endswith("; before it 15 more, not told one by one")
    assert "more" not in world.details()[12]


def test_those_that_no_later_one_tells_of_are_told_in_the_end_and_forgotten(world):
    world.denied("otto", 25)
    world.denied("anna", 1)
    world.refusals.tell_the_rest()
    assert len(world.noted) == 11  # the second is not over yet
    world.now_s += 1.0
    world.refusals.tell_the_rest()
    world.refusals.tell_the_rest()
    assert world.details()[11:] == ["15 more, not told one by one"]
    assert world.noted[11][0].principal.name == "otto"


def test_strangers_have_one_a_minute_for_each_address_and_reason_and_none_of_their_words(world):
    for port in range(1000):
        world.refusals.stranger(f"10.0.0.1:{port}", WRONG)
    world.refusals.stranger("10.0.0.1:1", Unauthenticated("sign in first: send it"))
    world.refusals.stranger("[::1]:1", WRONG)
    assert [by.address for by, _ in world.noted] == ["10.0.0.1", "10.0.0.1", "[::1]"]
    assert [by.principal.name for by, _ in world.noted] == [""] * 3
    assert world.details()[:2] == ["this token is not good (any more)", "sign in first"]
    world.now_s += 60.0
    world.refusals.stranger("10.0.0.1:7", WRONG)
    assert world.details()[3].endswith("; before it 999 more, not told one by one")


def test_many_strangers_share_what_they_may_have_and_none_is_remembered_for_long(world):
    for number in range(100_000):
        world.refusals.stranger(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:1", WRONG)
    assert len(world.noted) == STRANGERS_A_MINUTE
    assert len(world.refusals._strangers._periods) == STRANGERS_A_MINUTE
    world.now_s += 60.0
    world.refusals.tell_the_rest()
    assert world.details()[-1] == f"{100_000 - STRANGERS_A_MINUTE} more, not told one by one"
    assert not world.refusals._strangers._periods


@pytest.mark.parametrize(
    ("address", "host"),
    [("192.0.2.1:4711", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"),
     ("[2001:db8::1]:4711", "[2001:db8::1]")],
)  # fmt: skip
def test_of_a_stranger_the_host_is_told_whether_a_proxy_says_his_port_or_not(world, address, host):
    world.refusals.stranger(address, WRONG)
    [(by, deed)] = world.noted
    assert (by.address, deed.detail) == (host, "this token is not good (any more)")
