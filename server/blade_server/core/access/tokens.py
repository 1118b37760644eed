"""The words of a token: `blade_<id>_<secret>`, of which the server keeps the id and a hash."""

from __future__ import annotations

import hashlib
import re
import secrets

_FORM = re.compile(r"blade_([a-z0-9]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_token() -> tuple[str, str]:
    """A token's id, and the whole token: 32 random bytes."""
    token_id = new_id()
    return token_id, f"blade_{token_id}_{secrets.token_urlsafe(32)}"


def new_id() -> str:
    """Of a token or a grant: 12 characters."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))


def token_id_of(token: str) -> str | None:
    """The id in a token, None if it has not the form of one."""
    found = _FORM.fullmatch(token)
    return found[1] if found else None


def hash_of(token: str) -> bytes:
    """What is kept of it. SHA-256 is enough: 32 random bytes cannot be guessed, however fast the hash is."""
    return hashlib.sha256(token.encode()).digest()
