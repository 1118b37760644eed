"""Signing in without a browser of one's own: how long to wait between questions, and every way in which it can end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.oidc import AUDIENCE, FakeProvider

from blade_client import errors, provider
from blade_client.device_flow import DeviceClient, Given, Prompt, given_in, sign_in
from blade_client.jwt_claims import claims_of, end_of, is_for
from blade_client.provider import Provider

CLIENT = DeviceClient(client_id="cli", scopes=("openid", "offline_access"), audience=AUDIENCE)
PENDING = (400, {"error": "authorization_pending"})
SLOW_DOWN = (400, {"error": "slow_down"})


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider().running() as fake:
        yield fake


class Waits:
    """Instead of sleeping: how long it was each time."""

    def __init__(self, fake: FakeProvider) -> None:
        self.fake = fake
        self.seconds: list[float] = []
        self.shown: list[Prompt] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.meanwhile()

    def sign_in(self, *answers: tuple[int, dict[str, Any]]) -> Given:
        self.fake.device = list(answers)
        return sign_in(Provider(self.fake.issuer), CLIENT, self.shown.append, self.sleep)

    def refused(self, *answers: tuple[int, dict[str, Any]]) -> str:
        with pytest.raises(errors.NotSignedIn) as caught:
            self.sign_in(*answers)
        return caught.value.message


@pytest.fixture
def waits(fake: FakeProvider) -> Waits:
    return Waits(fake)


def test_it_shows_what_to_do_and_waits_as_long_as_the_provider_wants(fake: FakeProvider, waits: Waits) -> None:
    good = fake.given(refresh=True)
    given = waits.sign_in(PENDING, SLOW_DOWN, PENDING, SLOW_DOWN, (200, good))
    assert (given.token, given.refresh_token) == (good["access_token"], good["refresh_token"])
    assert waits.seconds == [1, 1, 6, 6, 11]
    url = f"{fake.issuer}/enter"
    assert waits.shown == [Prompt(url=url, code="WDJB-MJHT", whole_url="", lasts_s=600)]
    begun, *polls = fake.posted
    assert begun == ("/device", {"client_id": "cli", "scope": "openid offline_access", "audience": AUDIENCE}, "")
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    assert polls == [("/token", {"grant_type": grant, "device_code": "dev-1", "client_id": "cli"}, "")] * 5
    assert given.token not in repr(given)
    assert given.refresh_token not in repr(given)


def test_one_that_does_not_answer_meanwhile_is_asked_less_often(fake: FakeProvider, waits: Waits) -> None:
    assert waits.sign_in((502, {}), PENDING, (503, {}), (200, fake.given())).token
    assert waits.seconds == [1, 2, 2, 4]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"error": "access_denied"}, "refused at the identity provider"),
        ({"error": "expired_token"}, "Nobody has entered the code in time"),
        ({"error": "invalid_client", "error_description": "no\nsuch client"}, "invalid_client: no such client"),
        ({}, "refused"),
    ],
)
def test_every_other_answer_is_the_end(waits: Waits, answer: dict[str, Any], says: str) -> None:
    assert says in waits.refused(PENDING, (400, answer))
    assert len(waits.seconds) == 2


def test_it_ends_with_the_code_also_if_the_provider_never_says_so(
    waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("blade_client.device_flow.time.monotonic", lambda: now[0])

    def later() -> None:
        now[0] += waits.seconds[-1]

    waits.meanwhile = later
    assert "in time" in waits.refused(*[PENDING] * 700)
    assert len(waits.seconds) == 601


def test_a_token_is_the_one_that_is_for_the_server(fake: FakeProvider) -> None:
    for_us, for_others = fake.token(), fake.token(aud="other")
    several = fake.token(aud=["other", AUDIENCE])
    for tokens, expected in (
        ({"access_token": for_us, "id_token": for_others}, for_us),
        ({"access_token": "opaque", "id_token": for_us}, for_us),
        ({"access_token": for_others, "id_token": for_us}, for_us),
        ({"access_token": several}, several),
    ):
        assert given_in(tokens, AUDIENCE).token == expected
    for tokens in ({"access_token": "opaque", "id_token": for_others}, {"access_token": 7}, {}):
        with pytest.raises(errors.Unavailable, match="gave no token for this server"):
            given_in(tokens, AUDIENCE)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "..", "a.W10.c", "a.%.c", f"a.{'W' * 40_000}.c"])
def test_what_is_no_token_says_nothing(token: str) -> None:
    assert claims_of(token) == {}
    assert end_of(token) is None
    assert not is_for(token, AUDIENCE)


@pytest.mark.parametrize(
    "issuer",
    ["http://id.example.com", "ftp://127.0.0.1", "id.example.com", "", "https://", "https://u:p@id.example.com"],
)
def test_tokens_go_to_https_and_to_this_machine_alone(issuer: str) -> None:
    with pytest.raises(ValueError, match="it must begin with https://"):
        Provider(issuer)


@pytest.mark.parametrize("name", ["token_endpoint", "device_authorization_endpoint"])
def test_nor_do_they_where_the_provider_names_another_place(fake: FakeProvider, name: str) -> None:
    fake.discovery[name] = "http://id.example.com/x"
    with pytest.raises(errors.Unavailable, match="which has no TLS"):
        Provider(fake.issuer).post(name, {"a": "b"})
    assert fake.posted == []


def test_one_that_says_it_is_somebody_else_is_not_asked(fake: FakeProvider) -> None:
    fake.discovery["issuer"] = "https://other.example"
    with pytest.raises(errors.Unavailable, match=r"says that it is 'https://other\.example'"):
        Provider(fake.issuer).post("token_endpoint", {"a": "b"})
    assert fake.posted == []


def test_one_without_a_device_flow_is_said_to_be(fake: FakeProvider, waits: Waits) -> None:
    fake.discovery["device_authorization_endpoint"] = ""
    with pytest.raises(errors.Unavailable, match="has no device_authorization_endpoint"):
        waits.sign_in()


@pytest.mark.parametrize("says", ["huge", "nonsense", "500"])
def test_answers_that_are_none_end_in_words(fake: FakeProvider, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "_PATIENCE_S", 2.0)
    fake.says = says
    with pytest.raises(errors.Unavailable, match="identity provider"):
        Provider(fake.issuer).endpoint("token_endpoint")


def test_an_answer_without_an_address_is_none(waits: Waits) -> None:
    waits.fake.answer_to = lambda *_: (200, {"user_code": "A", "verification_uri": "file:///x"})  # type: ignore[method-assign]
    with pytest.raises(errors.Unavailable, match="without an address"):
        waits.sign_in()
    assert waits.shown == []
