"""Tokens of an identity provider that end: renewed by one at a time, written down before they are used."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.oidc import AUDIENCE, FakeProvider

from blade.v1 import access_service_pb2 as access
from blade_client import BladeClient, errors, file_lock, profiles
from blade_client.file_lock import locked
from blade_client.profile_token import ProfileToken
from blade_client.profiles import Profile, Renewal


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("BLADE_TOKEN", "BLADE_TOKEN_FILE", "BLADE_PROFILE", "BLADE_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider().running() as fake:
        yield fake


def stored(fake: FakeProvider, ends_in_s: float, *, renewable: bool = True, server: str = "a:1") -> Profile:
    refresh_token = fake.given(refresh=True)["refresh_token"] if renewable else ""
    renewal = Renewal(issuer=fake.issuer, client_id="cli", audience=AUDIENCE, refresh_token=refresh_token)
    token = fake.token(exp=time.time() + ends_in_s)
    profiles.save(Profile(name="mine", server=server, token=token, renewal=renewal))
    return profiles.load("mine")


def in_another_process(code: str) -> int:
    """How it ends."""
    imports = "import os\nfrom pathlib import Path\nfrom blade_client import file_lock, profile_token, profiles\n"
    return subprocess.run([sys.executable, "-c", imports + code], check=False, timeout=60).returncode


def test_a_profile_keeps_all_that_is_needed_for_the_next_token(fake: FakeProvider) -> None:
    profile = stored(fake, 60)
    assert profiles.load("mine") == profile
    assert profile.renewal is not None
    assert profile.renewal.refresh_token not in repr(profile)
    assert profiles.file_of("mine").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("spoilt", [[], {"issuer": "x"}, "x", {"issuer": 1, "client_id": 2, "else": 3}])
def test_a_damaged_one_is_said_to_be(fake: FakeProvider, spoilt: Any) -> None:
    stored(fake, 60)
    file = profiles.file_of("mine")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"renewal": spoilt}))
    with pytest.raises(ValueError, match="is damaged"):
        profiles.load("mine")


def test_one_that_is_good_for_long_is_shown_as_it_is(fake: FakeProvider) -> None:
    profile = stored(fake, 300)
    assert ProfileToken(profile).text() == profile.token
    assert fake.posted == []


@pytest.mark.parametrize("ends_in_s", [-100, 10])
def test_one_that_ends_is_renewed_and_written_down(fake: FakeProvider, ends_in_s: float) -> None:
    profile = stored(fake, ends_in_s)
    token = ProfileToken(profile)
    new = token.text()
    assert new != profile.token
    kept = profiles.load("mine")
    assert kept.token == new
    assert kept.renewal is not None
    assert profile.renewal is not None
    assert kept.renewal.refresh_token != profile.renewal.refresh_token, "each is good once"
    assert token.text() == new
    (_, form, _) = fake.posted[0]
    assert form["client_id"] == "cli"
    assert len(fake.posted) == 1


def test_one_that_has_no_way_on_is_shown_to_its_end_and_after(fake: FakeProvider) -> None:
    profile = stored(fake, -100, renewable=False)
    assert ProfileToken(profile).text() == profile.token, "the server says what is wrong with it"
    assert not ProfileToken(profile).renewed(profile.token)


def test_many_at_once_renew_it_once(fake: FakeProvider) -> None:
    profile = stored(fake, -100)
    with ThreadPoolExecutor(8) as threads:  # each as a process of its own: with what it has read before
        found = set(threads.map(lambda _: ProfileToken(profile).text(), range(8)))
    assert len(found) == 1
    assert len(fake.posted) == 1


def test_the_lock_is_one_for_all_processes_and_ends_with_its_holder(fake: FakeProvider) -> None:
    stored(fake, -100)
    take = """
try:
    with file_lock.locked(profiles.file_of('mine').with_suffix('.lock'), 0.0):
        os._exit(1)
except TimeoutError:
    os._exit(9)
"""
    with profiles.changing("mine"):
        assert in_another_process(take) == 9
    assert in_another_process(take) == 1
    with profiles.changing("mine"):  # which that one has not let go
        pass


def test_who_waits_too_long_for_another_is_told(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = stored(fake, -100)
    monkeypatch.setattr(profiles, "LOCK_PATIENCE_S", 0.1)
    monkeypatch.setattr(file_lock, "_BETWEEN_S", 0.01)
    with (
        locked(profiles.file_of("mine").with_suffix(".lock"), 5.0),
        pytest.raises(errors.NotSignedIn, match="is not renewed: another process holds"),
    ):
        ProfileToken(profile).text()
    assert fake.posted == []


@pytest.mark.parametrize(
    "step",
    ["profile_token.Provider.post", "profile_token.profiles.save", "Path.replace"],
    ids=["sent", "saved", "whole"],
)
def test_one_that_is_killed_on_the_way_leaves_a_whole_profile(fake: FakeProvider, step: str) -> None:
    """Before it is sent, before it is written, and while it is."""
    profile = stored(fake, -100)
    renew = f"{step} = lambda *_, **__: os._exit(9)\nprofile_token.ProfileToken(profiles.load('mine')).text()"
    assert in_another_process(renew) == 9
    assert profiles.load("mine") == profile
    if step.endswith("post"):
        assert ProfileToken(profile).text() == profiles.load("mine").token != profile.token
    else:  # the provider alone knows what it has given
        with pytest.raises(errors.NotSignedIn, match=r"invalid_grant.*blade login --oidc --profile mine"):
            ProfileToken(profile).text()


def test_while_the_provider_is_away_it_is_good_to_its_end(fake: FakeProvider) -> None:
    fake.says = "500"
    profile = stored(fake, 10)
    assert ProfileToken(profile).text() == profile.token
    over = stored(fake, -10)
    with pytest.raises(errors.Unavailable):
        ProfileToken(over).text()
    assert profiles.load("mine") == over, "it may be renewed when the provider is back"


def test_what_is_forgotten_while_it_is_renewed_stays_so(fake: FakeProvider, wait_until: Any) -> None:
    profile = stored(fake, -100)
    fake.says = "hangs"
    with ThreadPoolExecutor(2) as threads:
        renewing = threads.submit(ProfileToken(profile).text)
        wait_until(lambda: "/.well-known/openid-configuration" in fake.asked)
        removing = threads.submit(profiles.remove, "mine")
        fake.says = "well"
        fake.released.set()
        assert removing.result(60)
        assert renewing.exception(60) is None or isinstance(renewing.exception(), errors.Unavailable)
    assert not profiles.file_of("mine").exists()


def test_logout_forgets_all_of_it(fake: FakeProvider) -> None:
    ProfileToken(stored(fake, -100)).text()
    folder = profiles.file_of("mine").parent
    assert len(list(folder.iterdir())) == 2
    assert profiles.remove("mine")
    assert list(folder.iterdir()) == []


class TestCalls:
    @pytest.fixture
    def good(self, server: Any) -> set[str]:
        """The tokens that the server takes."""
        good: set[str] = set()

        def who(request: Any, context: grpc.ServicerContext) -> access.WhoAmIResponse:
            shown = dict(context.invocation_metadata()).get("authorization", "")
            if str(shown).removeprefix("Bearer ") not in good:
                raise errors.NotSignedIn("this token is not good", reason="UNAUTHENTICATED")
            return access.WhoAmIResponse(principal="ann", kind="jwt")

        server.on("WhoAmI", who)
        return good

    def test_a_call_carries_the_new_one(self, fake: FakeProvider, server: Any, good: set[str]) -> None:
        stored(fake, -10, server=server.target)
        new = fake.given(refresh=True)
        good.add(new["access_token"])
        fake.answer_to = lambda *_: (200, new)  # type: ignore[method-assign]
        with BladeClient(server.target) as blade:
            assert blade.access.who_am_i().principal == "ann"
            assert blade.authorization() == f"Bearer {new['access_token']}"

    def test_one_that_the_server_finds_over_first_is_renewed_then(
        self, fake: FakeProvider, server: Any, good: set[str]
    ) -> None:
        stored(fake, 300, server=server.target)
        new = fake.given(refresh=True)
        good.add(new["access_token"])
        fake.answer_to = lambda *_: (200, new)  # type: ignore[method-assign]
        with BladeClient(server.target) as blade:
            assert blade.access.who_am_i().principal == "ann"
        assert len(fake.posted) == 1

    def test_a_server_that_takes_none_is_not_asked_for_ever(
        self, fake: FakeProvider, server: Any, good: set[str]
    ) -> None:
        stored(fake, 300, server=server.target)
        with BladeClient(server.target) as blade, pytest.raises(errors.NotSignedIn):
            blade.access.who_am_i()
        assert len(fake.posted) == 1
        assert len(server.asked("WhoAmI")) == 2
