"""A browser's way to the provider and back: all that must fit together, and what is said where it does not."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.oidc.conftest import REDIRECT
from tests.support.oidc import FakeProvider, new_key

from blade_server.errors import Unauthenticated, Unavailable
from blade_server.oidc import Answer, Begun, CodeFlow, Identity, code_flow, fetch, keys

Flows = Callable[..., CodeFlow]


def back(said: dict[str, str]) -> Answer:
    return Answer(state=said["state"], code=said.get("code", ""), issuer=said.get("iss", ""))


def signed_in(fake: FakeProvider, flow: CodeFlow, **claims: Any) -> Identity:
    url, begun = flow.begin()
    return flow.finish(back(fake.approve(url, **claims)), begun)


def refused(fake: FakeProvider, flow: CodeFlow, **claims: Any) -> str:
    with pytest.raises(Unauthenticated) as caught:
        signed_in(fake, flow, **claims)
    return caught.value.message


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"], ["client_secret_post"]])
def test_who_signs_in_is_whom_the_provider_names_with_his_groups(
    fake: FakeProvider, flow_of: Flows, methods: list[str] | None
) -> None:
    if methods:
        fake.discovery["token_endpoint_auth_methods_supported"] = methods
    who = signed_in(fake, flow_of(), groups=["crew"])
    assert (who.subject, who.groups) == ("ann", {"crew"})
    (_, form, header) = fake.posted[-1]
    assert bool(header) is (methods != ["client_secret_post"])
    assert ("client_secret" in form) is not bool(header), "a secret goes one way"


def test_a_public_client_shows_its_id_and_no_secret(fake: FakeProvider, flow_of: Flows) -> None:
    fake.secret = None
    assert signed_in(fake, flow_of()).subject == "ann"
    (_, form, header) = fake.posted[-1]
    assert (form["client_id"], header, "client_secret" in form) == ("page", "", False)


def test_what_goes_out_says_what_comes_back_must_and_is_new_each_time(fake: FakeProvider, flow_of: Flows) -> None:
    fake.discovery["authorization_endpoint"] = f"{fake.issuer}/auth?tenant=a"
    flow = flow_of()
    (url, begun), (_, other) = flow.begin(), flow.begin()
    asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).decode().rstrip("=")
    assert asked == {
        "tenant": "a", "response_type": "code", "client_id": "page", "redirect_uri": REDIRECT,
        "scope": "openid groups", "state": begun.state, "nonce": begun.nonce, "code_challenge": challenge,
        "code_challenge_method": "S256",
    }  # fmt: skip
    assert len({begun.state, begun.nonce, begun.verifier, other.state, other.nonce, other.verifier}) == 6
    assert begun.verifier not in url
    assert begun.verifier not in repr(begun)


@pytest.mark.parametrize("wrong", ["", "x", "\u00e9", "another browser's"])
def test_an_answer_with_another_state_is_not_believed_and_no_code_is_sent(
    fake: FakeProvider, flow_of: Flows, wrong: str
) -> None:
    flow = flow_of()
    url, begun = flow.begin()
    _, others = flow.begin()
    answer = replace(back(fake.approve(url)), state=others.state if wrong.startswith("another") else wrong)
    with pytest.raises(Unauthenticated, match="belongs to no sign-in of this browser"):
        flow.finish(answer, begun)
    with pytest.raises(Unauthenticated, match="belongs to no sign-in of this browser"):
        flow.finish(replace(answer, error="access_denied"), begun)
    assert fake.posted == []


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"nonce": "other"}, "of another one (nonce)"),
        ({"nonce": None}, "of another one (nonce)"),
        ({"aud": "blade"}, "for somebody else (aud)"),
        ({"aud": ["page", "other"]}, "to another client (azp)"),
        ({"aud": ["page", "other"], "azp": "other"}, "to another client (azp)"),
        ({"azp": "other"}, "to another client (azp)"),
        ({"iss": "https://other.example"}, "of another provider (iss)"),
        ({"exp": 1}, "it is over"),
        ({"at_hash": "x"}, "do not belong together (at_hash)"),
        ({"sub": "a\nb"}, "no name of 1 to 200"),
    ],
)
def test_an_id_token_that_is_not_of_this_sign_in_signs_in_nobody(
    fake: FakeProvider, flow_of: Flows, claims: dict[str, Any], why: str
) -> None:
    assert why in refused(fake, flow_of(), **claims)


def test_a_token_for_several_is_good_if_it_was_given_to_us(fake: FakeProvider, flow_of: Flows) -> None:
    assert signed_in(fake, flow_of(), aud=["page", "other"], azp="page").subject == "ann"


@pytest.mark.parametrize(("algorithm", "hashed"), [("ES256", hashlib.sha256), ("EdDSA", hashlib.sha512)])
def test_the_hash_of_the_access_token_fits_where_it_is_said(
    fake: FakeProvider, flow_of: Flows, monkeypatch: pytest.MonkeyPatch, algorithm: str, hashed: Any
) -> None:
    fake.keys["first"] = (algorithm, new_key(algorithm))
    given = fake.given

    def with_hash(**claims: Any) -> dict[str, Any]:
        answer = given()
        digest = hashed(answer["access_token"].encode()).digest()
        half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")
        return answer | {"id_token": fake.token(**claims, at_hash=half)}

    monkeypatch.setattr(fake, "given", with_hash)
    assert signed_in(fake, flow_of()).subject == "ann"


def test_another_provider_cannot_answer_in_its_place(fake: FakeProvider, flow_of: Flows) -> None:
    flow = flow_of()
    url, begun = flow.begin()
    answer = back(fake.approve(url))
    with pytest.raises(Unauthenticated, match=r"\(iss\)"):
        flow.finish(replace(answer, issuer="https://other.example"), begun)
    assert fake.posted == []
    assert flow.finish(replace(answer, issuer=""), begun).subject == "ann", "most do not say it"


def test_one_that_always_says_who_it_is_has_to(fake: FakeProvider, flow_of: Flows) -> None:
    fake.discovery["authorization_response_iss_parameter_supported"] = True
    flow = flow_of()
    url, begun = flow.begin()
    answer = back(fake.approve(url))
    with pytest.raises(Unauthenticated, match=r"\(iss\)"):
        flow.finish(replace(answer, issuer=""), begun)
    assert flow.finish(answer, begun).subject == "ann"


def test_a_code_is_good_once_and_for_whoever_began(fake: FakeProvider, flow_of: Flows) -> None:
    flow = flow_of()
    url, begun = flow.begin()
    answer = back(fake.approve(url))
    assert flow.finish(answer, begun).subject == "ann"
    with pytest.raises(Unauthenticated, match=r"finished already.*invalid_grant"):
        flow.finish(answer, begun)
    url, begun = flow.begin()
    stolen = back(fake.approve(url))
    thief = Begun(state=begun.state, nonce=begun.nonce, verifier="v" * 64)
    with pytest.raises(Unauthenticated, match="invalid_grant"):
        flow.finish(stolen, thief)


def test_what_the_provider_has_against_it_is_said_in_plain_words(fake: FakeProvider, flow_of: Flows) -> None:
    flow = flow_of()
    _, begun = flow.begin()
    said = Answer(state=begun.state, error="access_denied", description="End-User aborted\r\n<b>interaction</b>")
    with pytest.raises(Unauthenticated) as caught:
        flow.finish(said, begun)
    assert caught.value.message == (
        "the identity provider refused: you were not let in there, or said no "
        "(access_denied, End-User aborted  <b>interaction</b>)"
    )
    with pytest.raises(Unauthenticated) as caught:
        flow.finish(replace(said, error="own_error", description="x" * 1000), begun)
    assert len(caught.value.message) < 300
    with pytest.raises(Unauthenticated, match="neither a code nor an error"):
        flow.finish(Answer(state=begun.state), begun)


def test_a_wrong_secret_is_said_in_the_log_and_stands_nowhere(
    fake: FakeProvider, flow_of: Flows, caplog: pytest.LogCaptureFixture
) -> None:
    flow = flow_of()
    fake.secret = "another"
    with caplog.at_level(logging.DEBUG):
        words = refused(fake, flow)
    assert "does not take the client id or secret of this server" in words
    assert "BLADE_OIDC_CLIENT_ID" in caplog.text
    code = fake.posted[-1][1]["code"]
    assert not [secret for secret in ("s3cret", code) if secret in caplog.text + words]


@pytest.mark.parametrize("says", ["500", "hangs"])
def test_a_provider_that_is_away_is_told_from_a_refusal(
    fake: FakeProvider, flow_of: Flows, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setattr(fetch, "LIMIT_S", 0.3)
    flow = flow_of()
    url, begun = flow.begin()
    answer = back(fake.approve(url))
    fake.says = says
    with pytest.raises(Unavailable, match="does not answer as it should") as caught:
        flow.finish(answer, begun)
    assert answer.code not in repr(caught.value.__cause__)
    assert flow.begin()[0].startswith(f"{fake.issuer}/auth?"), "what it has said of itself is kept"


def test_one_that_was_never_there_lets_nobody_begin(
    fake: FakeProvider, flow_of: Flows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "WAIT_S", 0.5)
    fake.says = "500"
    with pytest.raises(Unavailable, match="does not answer"):
        flow_of().begin()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("url", ["http://id.example.com/x", "javascript:alert(1)", 7, None])
def test_an_address_without_tls_is_not_gone_to(fake: FakeProvider, flow_of: Flows, name: str, url: Any) -> None:
    fake.discovery[name] = url
    flow = flow_of()
    with pytest.raises(Unavailable):
        signed_in(fake, flow)
    assert fake.posted == []


def test_words_of_a_provider_are_never_of_more_than_one_line() -> None:
    assert "\n" not in code_flow.refused("a\nb", "c\u2028d").message
