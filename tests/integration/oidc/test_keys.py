"""The provider's keys while it changes them, is away, hangs, or answers with too much: no outage, and no flood."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.oidc import FakeProvider, new_key
from tests.support.waiting import wait_until

from blade_server.errors import Unauthenticated, Unavailable
from blade_server.oidc import Provider, fetch, keys

KEYS = "/keys"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of a tenth of a second instead of half a minute."""
    monkeypatch.setattr(keys, "COOLDOWN_S", 0.1)
    monkeypatch.setattr(keys, "REFRESH_S", 0.3)


def known(provider: Provider, token: str) -> bool:
    try:
        provider.identify(token)
    except (Unauthenticated, Unavailable):
        return False
    return True


@pytest.mark.usefixtures("quick")
def test_a_new_key_is_learnt_and_a_withdrawn_one_forgotten(fake: FakeProvider, provider: Provider) -> None:
    old = fake.token()
    assert known(provider, old)
    fake.keys["second"] = ("RS256", new_key("RS256"))
    wait_until(lambda: known(provider, fake.token("second")))
    assert known(provider, old)
    del fake.keys["first"]
    wait_until(lambda: not known(provider, old))
    assert known(provider, fake.token("second"))


def test_a_new_key_is_asked_for_at_once_when_the_pause_is_over(
    fake: FakeProvider, provider_of: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "COOLDOWN_S", 0.05)
    provider = provider_of()
    assert known(provider, fake.token())
    asked = len(fake.asked)
    fake.keys["second"] = ("ES256", new_key("ES256"))
    wait_until(lambda: known(provider, fake.token("second")), timeout_s=5)
    assert len(fake.asked) == asked + 2


@pytest.mark.parametrize("says", ["500", "huge", "nonsense", "hangs"])
@pytest.mark.usefixtures("quick")
def test_known_keys_are_good_while_the_provider_is_away_and_unknown_ones_are_not(
    fake: FakeProvider,
    provider: Provider,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fetch, "LIMIT_S", 0.2)
    monkeypatch.setattr(keys, "WAIT_S", 0.5)
    assert known(provider, fake.token())
    fake.says = says
    asked = len(fake.asked)
    wait_until(lambda: len(fake.asked) > asked + 2)

    began_s = time.monotonic()
    assert known(provider, fake.token())
    assert time.monotonic() - began_s < 0.1
    fake.keys["second"] = ("ES256", new_key("ES256"))
    with pytest.raises(Unauthenticated):
        provider.identify(fake.token("second"))
    assert caplog.text.count("the identity provider gives no keys") == 1, "said once, not at each try"
    assert "the 1 keys it had are kept" in caplog.text

    fake.released.set()
    fake.says = "well"
    wait_until(lambda: known(provider, fake.token("second")))
    assert "gives keys again" in caplog.text


@pytest.mark.usefixtures("quick")
def test_a_provider_without_keys_is_as_one_that_is_away(fake: FakeProvider, provider: Provider) -> None:
    token = fake.token()
    assert known(provider, token)
    fake.keys.clear()
    asked = len(fake.asked)
    wait_until(lambda: len(fake.asked) > asked + 3)
    assert known(provider, token)


def test_one_that_was_never_there_is_told_from_a_wrong_token(
    fake: FakeProvider, provider_of: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "COOLDOWN_S", 0.1)
    fake.says = "500"
    provider = provider_of()
    with pytest.raises(Unavailable, match="identity provider does not answer"):
        provider.identify(fake.token())
    fake.says = "well"
    wait_until(lambda: known(provider, fake.token()))


def test_invented_ids_make_no_flood(fake: FakeProvider, provider: Provider) -> None:
    assert known(provider, fake.token())
    asked = fake.asked.count(KEYS)
    began_s = time.monotonic()
    for number in range(300):
        assert not known(provider, fake.token(headers={"kid": f"invented-{number}"}))
    assert time.monotonic() - began_s < keys.WAIT_S, "none of them waits"
    assert fake.asked.count(KEYS) == asked


def test_a_key_that_is_published_after_it_was_asked_for_is_found_after_the_pause(
    fake: FakeProvider, provider_of: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "COOLDOWN_S", 0.1)
    provider = provider_of()
    assert known(provider, fake.token())
    fake.keys["late"] = ("ES256", new_key("ES256"))
    late = fake.token("late")
    kept = fake.keys.pop("late")
    asked = fake.asked.count(KEYS)
    assert not known(provider, late)
    wait_until(lambda: fake.asked.count(KEYS) > asked and provider._keys._tries > 1)
    fake.keys["late"] = kept
    wait_until(lambda: known(provider, late), timeout_s=5)


def test_an_id_that_is_shown_again_and_again_is_asked_for_once_a_pause(
    fake: FakeProvider, provider_of: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "COOLDOWN_S", 0.2)
    provider = provider_of()
    token = fake.token(headers={"kid": "invented"})
    assert known(provider, fake.token())
    began_s, asked = time.monotonic(), fake.asked.count(KEYS)
    wait_until(lambda: not known(provider, token) and fake.asked.count(KEYS) >= asked + 3)
    assert time.monotonic() - began_s > 0.4


def test_while_it_hangs_few_wait_and_nobody_whose_key_is_known(
    fake: FakeProvider, provider_of: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "COOLDOWN_S", 0.0)
    monkeypatch.setattr(keys, "MAX_WAITING", 2)
    provider = provider_of()
    assert known(provider, fake.token())
    asked = len(fake.asked)
    fake.says = "hangs"
    strangers = [
        threading.Thread(target=known, args=(provider, fake.token(headers={"kid": f"x{number}"})))
        for number in range(2)
    ]
    for stranger in strangers:
        stranger.start()
    wait_until(lambda: len(fake.asked) > asked and provider._keys._waiting == 2)

    began_s = time.monotonic()
    assert known(provider, fake.token())
    assert not known(provider, fake.token(headers={"kid": "third"}))
    assert time.monotonic() - began_s < 1.0
    fake.released.set()
    for stranger in strangers:
        stranger.join()


def test_a_hundred_megabytes_are_not_read(fake: FakeProvider) -> None:
    fake.says = "huge"
    with pytest.raises(fetch.FetchError, match="more than 1 MiB"):
        fetch.fetch(f"{fake.issuer}/keys", None)


@pytest.mark.parametrize("says", ["hangs", "dribbles"])
def test_one_that_does_not_come_to_an_end_is_cut_off(
    fake: FakeProvider, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LIMIT_S", 0.3)
    fake.says = says
    began_s = time.monotonic()
    with pytest.raises(fetch.FetchError, match=r"does not answer|no JSON"):
        fetch.fetch(f"{fake.issuer}/keys", None)
    assert time.monotonic() - began_s < 2.0


def test_a_provider_behind_tls_is_verified_against_the_given_authority(
    fake: FakeProvider, provider_of: Callable[..., Provider], tmp_path: Path
) -> None:
    authority, cert, key, ca = Authority(), *(tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    authority.write(cert, key)
    ca.write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    fake.socket = context.wrap_socket(fake.socket, server_side=True)
    fake.issuer = fake.issuer.replace("http://", "https://")

    assert known(provider_of(ca_file=ca), fake.token())
    ca.write_bytes(Authority().pem)
    with pytest.raises(Unavailable):
        provider_of(ca_file=ca).identify(fake.token())
    with pytest.raises(Unavailable):
        provider_of().identify(fake.token())
