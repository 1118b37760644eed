"""From a JSON Web Token to whom the provider says it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from blade_server.errors import Unauthenticated
from blade_server.model.access import is_name
from blade_server.model.policy import OidcPolicy
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


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whom a token is of, and until when."""

    subject: str
    groups: frozenset[str]
    expire_time: datetime


class Provider:
    """An OpenID Connect provider. Thread-safe."""

    def __init__(self, policy: OidcPolicy) -> None:
        """Asks nobody yet."""
        self._policy = policy
        self._keys = Keys(policy.issuer, policy.ca_file)
        self.start, self.stop = self._keys.start, self._keys.stop

    def identify(self, token: str) -> Identity:
        """Whom the provider says it is. May wait for keys, some seconds.

        Raises Unauthenticated, and Unavailable as long as the provider has never answered.
        """
        try:
            return self._identity(token)
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, OSError, RecursionError) as exc:
            why = next((words for kind, words in _REASONS.items() if isinstance(exc, kind)), "it is malformed")
            raise Unauthenticated(f"this token is not good: {why}") from None  # its context may hold the token

    def _identity(self, token: str) -> Identity:
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated(f"this token is not good: it is longer than {MAX_TOKEN_CHARS >> 10} KiB")
        header = jwt.get_unverified_header(token)
        algorithm, key_id = str(header.get("alg")), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise Unauthenticated(f"this token is not good: it is signed with none of {', '.join(ALGORITHMS)}")
        if key_id is not None and not is_name(key_id):
            raise ValueError
        claims = jwt.decode(
            token,
            self._keys.get(key_id, algorithm),
            algorithms=[algorithm],
            audience=self._policy.audience,
            issuer=self._policy.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )
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


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or, with dots between them, the names on the way to it. None: there is none."""
    if name in claims:  # names with dots in them are URLs, mostly
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
