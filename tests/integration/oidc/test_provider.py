"""Which tokens are good, against a provider with real keys: the usual attacks, and what clocks and claims may say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.support.oidc import FakeProvider, new_key

from blade_server.errors import Unauthenticated, Unavailable
from blade_server.oidc import Provider


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def refused(provider: Provider, token: str) -> str:
    """The words of the refusal, which hold nothing of the token."""
    with pytest.raises(Unauthenticated) as caught:
        provider.identify(token)
    assert caught.value.__cause__ is None
    assert not any(len(each) > 8 and each in str(caught.value) for each in token.split("."))
    return str(caught.value)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_says_who_it_is_of_his_groups_and_its_end(
    fake: FakeProvider, provider_of: Callable[..., Provider], algorithm: str
) -> None:
    fake.keys["k"] = (algorithm, new_key(algorithm))
    end = int(time.time()) + 100
    who = provider_of().identify(fake.token("k", groups=["a", "b c", "", 7, "x" * 201], exp=end))

    assert (who.subject, who.groups, who.expire_time.timestamp()) == ("ann", {"a", "b c"}, end)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"exp": -55}, True),
        ({"exp": -65}, False),
        ({"exp": -300}, False),  # his clock is five minutes behind
        ({"nbf": 55}, True),
        ({"nbf": 65}, False),
        ({"nbf": 300, "iat": 300}, False),  # his clock is five minutes ahead
        ({"iat": 300}, False),
    ],
)
def test_clocks_may_be_a_minute_apart(
    fake: FakeProvider, provider: Provider, changes: dict[str, float], good: bool
) -> None:
    token = fake.token(**{name: time.time() + offset for name, offset in changes.items()})
    if good:
        assert provider.identify(token).subject == "ann"
    else:
        assert "it is over" in refused(provider, token) or "it is not good yet" in refused(provider, token)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": None}, "lacks exp"),
        ({"iss": None}, "lacks exp, iss or aud"),
        ({"aud": None}, "lacks exp, iss or aud"),
        ({"iss": "https://other.example"}, "of another provider"),
        ({"aud": "other"}, "for somebody else"),
        ({"aud": ["other", "blad"]}, "for somebody else"),
        ({"aud": []}, "lacks exp, iss or aud"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"exp": 1e300}, "malformed"),
        ({"exp": [1]}, "malformed"),
        ({"nbf": {}}, "malformed"),
        ({"sub": None}, "no name of 1 to 200"),
        ({"sub": ""}, "no name of 1 to 200"),
        ({"sub": " ann"}, "no name of 1 to 200"),
        ({"sub": "x" * 201}, "no name of 1 to 200"),
        ({"sub": "a\nb"}, "no name of 1 to 200"),
        ({"sub": "a\u202eb"}, "no name of 1 to 200"),
        ({"sub": ["ann"]}, "malformed"),
        ({"groups": 7}, "malformed"),
    ],
)
def test_claims_that_are_missing_or_wrong(
    fake: FakeProvider, provider: Provider, changes: dict[str, Any], why: str
) -> None:
    assert why in refused(provider, fake.token(**changes))


def test_the_audience_may_be_one_of_several(fake: FakeProvider, provider: Provider) -> None:
    assert provider.identify(fake.token(aud=["other", "blade"])).subject == "ann"


@pytest.mark.parametrize(
    ("names", "claims", "expected"),
    [
        ({}, {"groups": "one"}, ("ann", {"one"})),
        ({"groups_claim": "realm_access.roles"}, {"realm_access": {"roles": ["r"]}}, ("ann", {"r"})),
        ({"groups_claim": "realm_access.roles"}, {"realm_access": ["roles"]}, ("ann", set())),
        ({"groups_claim": "https://x.example/g"}, {"https://x.example/g": ["u"]}, ("ann", {"u"})),
        ({"subject_claim": "email"}, {"email": "ann@x.example"}, ("ann@x.example", set())),
    ],
)
def test_claims_have_the_names_that_the_operator_gives(
    fake: FakeProvider,
    provider_of: Callable[..., Provider],
    names: dict[str, str],
    claims: dict[str, Any],
    expected: tuple[str, set[str]],
) -> None:
    who = provider_of(**names).identify(fake.token(**claims))
    assert (who.subject, who.groups) == expected


def test_no_signature_is_no_token(fake: FakeProvider, provider: Provider) -> None:
    for alg in ("none", "None", "NONE", "", None, 1, ["ES256"]):
        token = f"{part({'alg': alg, 'typ': 'JWT', 'kid': 'first'})}.{part(fake.claims())}."
        assert "not good" in refused(provider, token)


def test_the_public_key_is_no_secret_of_hs256(fake: FakeProvider, provider_of: Callable[..., Provider]) -> None:
    fake.keys["k"] = ("RS256", new_key("RS256"))
    provider = provider_of()
    public = fake.keys["k"][1].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for algorithm, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
        signed = f"{part({'alg': algorithm, 'kid': 'k'})}.{part(fake.claims())}"
        mac = hmac.new(pem, signed.encode(), digest).digest()
        assert "signed with none of RS256, ES256, EdDSA" in refused(provider, f"{signed}.{part(mac)}")


def test_a_key_is_good_for_its_own_algorithm_only(fake: FakeProvider, provider_of: Callable[..., Provider]) -> None:
    fake.keys["k"] = ("RS256", new_key("RS256"))
    provider = provider_of()
    for algorithm in ("RS384", "PS256"):
        forged = jwt.encode(fake.claims(), fake.keys["k"][1], algorithm, headers={"kid": "k"})
        assert "signed with none of" in refused(provider, forged)
    crossed = jwt.encode(fake.claims(), fake.keys["k"][1], "RS256", headers={"kid": "first"})
    assert "does not publish" in refused(provider, crossed)


def test_a_signature_of_another_key_or_over_other_claims_is_wrong(fake: FakeProvider, provider: Provider) -> None:
    other = jwt.encode(fake.claims(), new_key("ES256"), "ES256", headers={"kid": "first"})
    head, _, signature = fake.token().split(".")
    for token in (other, f"{head}.{part(fake.claims(sub='root'))}.{signature}"):
        assert "its signature is wrong" in refused(provider, token)


@pytest.mark.parametrize(
    "kid", ["../../../../dev/null", "' OR 1=1 --", "x" * 5000, "", " first", "first\0", "http://127.0.0.1:1/k", "FIRST"]
)
def test_an_id_of_a_key_is_nothing_but_a_name(fake: FakeProvider, provider: Provider, kid: str) -> None:
    provider.identify(fake.token())
    before = set(fake.asked)
    assert "not good" in (words := refused(provider, fake.token(headers={"kid": kid}))) or "does not publish" in words
    assert set(fake.asked) == before


def test_keys_that_a_token_brings_along_are_not_looked_at(fake: FakeProvider, provider: Provider) -> None:
    own = new_key("ES256")
    form = json.loads(ECAlgorithm.to_jwk(own.public_key()))
    for headers in ({"jwk": form}, {"jku": "http://127.0.0.1:1/keys"}, {"x5u": "http://127.0.0.1:1/"}):
        token = jwt.encode(fake.claims(), own, "ES256", headers={"kid": "first"} | headers)
        assert "its signature is wrong" in refused(provider, token)


def test_an_extension_that_must_be_understood_is_not(fake: FakeProvider, provider: Provider) -> None:
    assert "malformed" in refused(provider, fake.token(headers={"crit": ["b64"], "b64": False}))
    assert "malformed" in refused(provider, fake.token(headers={"crit": ["x"], "x": 1}))


def test_without_an_id_the_only_key_of_the_algorithm_counts(
    fake: FakeProvider, provider_of: Callable[..., Provider]
) -> None:
    token = jwt.encode(fake.claims(), fake.keys["first"][1], "ES256")
    assert provider_of().identify(token).subject == "ann"
    fake.keys["second"] = ("ES256", new_key("ES256"))
    assert "does not publish" in refused(provider_of(), token)


@pytest.mark.parametrize(
    "token",
    ["..", "a.b.c", "." * 3, f"{part([])}.{part({})}.x", f"{part(b'[' * 9000)}.x.x", "é.é.é", f"{'x' * 20000}.a.b"],
)
def test_what_is_no_token_at_all(provider: Provider, token: str) -> None:
    assert "this token is not good" in refused(provider, token)


def test_deep_claims_break_nothing(fake: FakeProvider, provider: Provider) -> None:
    deep = f"{part({'alg': 'ES256', 'kid': 'first'})}.{part(b'[' * 9000)}"
    algorithm = jwt.get_algorithm_by_name("ES256")
    signature = algorithm.sign(deep.encode(), fake.keys["first"][1])
    assert "malformed" in refused(provider, f"{deep}.{part(signature)}")


def test_keys_for_something_else_do_not_count(fake: FakeProvider, provider_of: Callable[..., Provider]) -> None:
    short, p384 = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())
    good = fake.public("first")
    fake.extra_keys = [
        json.loads(RSAAlgorithm.to_jwk(short.public_key())) | {"kid": "short"},
        json.loads(ECAlgorithm.to_jwk(p384.public_key())) | {"kid": "p384"},
        good | {"kid": "enc", "use": "enc"},
        good | {"kid": "wrong", "alg": "RS256"},
        good | {"kid": "signs", "key_ops": ["sign"]},
        good | {"kid": "broken", "x": "AA"},
        {"kty": "oct", "kid": "secret", "k": "AAAA"},
        {"kid": "nothing"},
        7,
        good | {"kid": "fits", "alg": "ES256", "use": "sig", "key_ops": ["verify"]},
    ]
    provider = provider_of()
    key = fake.keys["first"][1]
    unsigned = f"{part({'alg': 'RS256', 'kid': 'short'})}.{part(fake.claims())}"
    for kid in ("enc", "wrong", "signs", "broken", "secret", "nothing"):
        assert "does not publish" in refused(provider, fake.token(headers={"kid": kid}))
    assert "does not publish" in refused(
        provider, f"{unsigned}.{part(short.sign(unsigned.encode(), PKCS1v15(), SHA256()))}"
    )
    assert provider.identify(jwt.encode(fake.claims(), key, "ES256", headers={"kid": "fits"})).subject == "ann"


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "http://127.0.0.1:1"},
        {"jwks_uri": "http://2130706433:PORT/keys"},  # this machine, in a way that is not read as such
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": None},
        {"jwks_uri": ["x"]},
    ],
)
def test_a_provider_that_says_something_else_is_not_believed(
    fake: FakeProvider,
    provider_of: Callable[..., Provider],
    discovery: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = str(fake.server_port)
    fake.discovery = {
        name: value.replace("PORT", port) if isinstance(value, str) else value for name, value in discovery.items()
    }
    with pytest.raises(Unavailable):
        provider_of().identify(fake.token())
    assert "the identity provider gives no keys" in caplog.text
    assert "/keys" not in fake.asked
