"""The keys in a JSON Web Key Set that may sign what is believed here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""What a token may be signed with, and the type and curve of its keys. No key is good for two."""
_MIN_RSA_BITS = 2048

KeyId = tuple[str, str]
"""A key's id and its algorithm."""


def keys_in(document: Mapping[str, Any]) -> dict[KeyId, Any]:
    """The public keys, by id (empty: it has none) and algorithm. What is for something else is left out."""
    listed = document.get("keys")
    return dict(_keys(listed if isinstance(listed, list) else ()))


def _keys(listed: Any) -> Iterator[tuple[KeyId, Any]]:
    for each in listed:
        algorithm = _algorithm(each) if isinstance(each, dict) else None
        if algorithm is None:
            continue
        try:
            key = jwt.PyJWK(each, algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, RSAPublicKey) or key.key_size >= _MIN_RSA_BITS:
            yield (str(each.get("kid", "")), algorithm), key


def _algorithm(key: Mapping[str, Any]) -> str | None:
    """What the key verifies; None: nothing that counts here."""
    kind = key.get("kty"), key.get("crv")
    for name, (kty, crv) in ALGORITHMS.items():
        if kind[0] == kty and crv in (None, kind[1]):
            operations = key.get("key_ops", ["verify"])
            ours = key.get("alg", name) == name and key.get("use", "sig") == "sig" and "d" not in key
            return name if ours and isinstance(operations, list) and "verify" in operations else None
    return None
