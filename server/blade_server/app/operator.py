"""The token of the server's own operator."""

from __future__ import annotations

from pathlib import Path

from blade_server.core.access.tokens import hash_of, token_id_of
from blade_server.model.access import Kind, Token
from blade_server.storage.access import AccessStore

ADMIN = "admin"
_MAX_BYTES = 1024


def admit(store: AccessStore, file: Path) -> None:
    """Lets in whoever shows the token in a file.

    Raises ValueError if the file cannot be read or holds no token, StorageUnavailable.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES).decode("ascii", "replace").strip()
    except OSError as exc:
        raise ValueError(f"BLADE_ADMIN_TOKEN_FILE is {str(file)!r}, which cannot be read: {exc.strerror}") from exc
    token_id = token_id_of(text)
    if token_id is None:
        raise ValueError(
            f"BLADE_ADMIN_TOKEN_FILE is {str(file)!r}, which does not hold a token as `blade token generate` makes it"
        )
    store.admit(Token(token_id=token_id, principal=ADMIN, kind=Kind.ADMIN), hash_of(text))
