"""From a JSON Web Token to whom the provider says it is of."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import jwt

from blade_server.errors import Unauthenticated
from blade_server.model.access import is_name
from blade_server.model.policy import OidcPolicy
from blade_server.oidc.identity import Identity
from blade_server.oidc.jwks import ALGORITHMS
from blade_server.oidc.keys import Keys

LEEWAY_S = 60
MAX_TOKEN_CHARS = 16 << 10
_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it is over; get a new one",
    jwt.ImmatureSignatureError: "it is not good yet (nbf, iat); compare the clocks",
    jwt.InvalidAudienceError: "it is for somebody else (aud)",
    jwt.InvalidIssuerError: "it is of another provider (iss)",
    jwt.MissingRequiredClaimError: "it lacks exp, iss or aud",
    jwt.InvalidSignatureError: "its signature is wrong",
}
_HASHES: Mapping[str, Any] = {"RS256": hashlib.sha256, "ES256": hashlib.sha256, "EdDSA": hashlib.sha512}
"""For `at_hash`, by the algorithm that the token is signed with."""


class Tokens:
    """Thread-safe. Each method may wait for keys, some seconds.

    It raises Unauthenticated for a token that is not good, Unavailable as long as the provider has never answered.
    """

    def __init__(self, policy: OidcPolicy, keys: Keys) -> None:
        self._policy = policy
        self._keys = keys

    def bearer(self, token: str) -> Identity:
        """Of a token that a caller shows: it must be meant for this server."""
        with _in_words():
            return self._identity(self._claims(token, self._policy.audience))

    def signed_in(self, id_token: str, *, client_id: str, nonce: str, access_token: str) -> Identity:
        """Of a token that was given to this server itself, as that client, for the sign-in with that nonce."""
        with _in_words():
            claims = self._claims(id_token, client_id)
            _check_party(claims, client_id)
            if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
                raise Unauthenticated("this sign-in is not good: its token is of another one (nonce); begin again")
            _check_at_hash(claims, str(jwt.get_unverified_header(id_token)["alg"]), access_token)
            return self._identity(claims)

    def _claims(self, token: str, audience: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated(f"this token is not good: it is longer than {MAX_TOKEN_CHARS >> 10} KiB")
        header = jwt.get_unverified_header(token)
        algorithm, key_id = str(header.get("alg")), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated(f"this token is not good: it is signed with none of {', '.join(ALGORITHMS)}")
        if key_id is not None and not is_name(key_id):
            raise ValueError
        claims: Mapping[str, Any] = jwt.decode(
            token,
            self._keys.get(key_id, algorithm),
            algorithms=[algorithm],
            audience=audience,
            issuer=self._policy.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject = _claim(claims, self._policy.subject_claim)
        if not is_name(subject):
            raise Unauthenticated(
                f"this token is not good: its claim {self._policy.subject_claim!r} is no name of 1 to 200 printable "
                "characters"
            )
        groups = _claim(claims, self._policy.groups_claim)
        return Identity(
            subject=subject,
            groups=frozenset(filter(is_name, [groups] if isinstance(groups, str) else groups or ())),
            expire_time=datetime.fromtimestamp(int(claims["exp"]), UTC),
        )


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, OSError, RecursionError) as exc:
        why = next((words for kind, words in _REASONS.items() if isinstance(exc, kind)), "it is malformed")
        raise Unauthenticated(f"this token is not good: {why}") from None  # its context may hold the token


def _check_party(claims: Mapping[str, Any], client_id: str) -> None:
    """A token for several must say that it was given to this one."""
    given_to = claims.get("azp")
    if given_to is None and claims["aud"] in (client_id, [client_id]):
        return
    if given_to != client_id:
        raise Unauthenticated("this sign-in is not good: its token was given to another client (azp)")


def _check_at_hash(claims: Mapping[str, Any], algorithm: str, access_token: str) -> None:
    """Whether the access token is the one that the ID token came with, where it says so."""
    said = claims.get("at_hash")
    if said is None:
        return
    digest = _HASHES[algorithm](access_token.encode()).digest()
    right = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not hmac.compare_digest(str(said).encode(), right):
        raise Unauthenticated("this sign-in is not good: its tokens do not belong together (at_hash)")


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or, with dots between them, the names on the way to it. None: there is none."""
    if name in claims:  # names with dots in them are URLs, mostly
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
