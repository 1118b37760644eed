"""By what a server is known to clients of its own user: they show their token to no other that has its port."""

from __future__ import annotations

import hashlib
import hmac
import secrets


class ServerIdentity:
    """An id and a key, new at each start."""

    def __init__(self) -> None:
        self.server_id = secrets.token_hex(8)
        self.proof_key = secrets.token_hex(32)
        """Known to whoever may read the file that holds it; never shown in a call."""

    def proof(self, nonce: str) -> str:
        """HMAC-SHA256 of the nonce under the key, both as UTF-8, in hex."""
        return hmac.new(self.proof_key.encode(), nonce.encode(), hashlib.sha256).hexdigest()
