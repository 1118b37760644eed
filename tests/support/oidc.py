"""An OpenID Connect provider: discovery and keys over real HTTP, and tokens signed with real keys."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "blade"
RSA_KEY = rsa.generate_private_key(65537, 2048)  # once a process: it takes a while
_FORMS: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def new_key(algorithm: str) -> Any:
    if algorithm == "RS256":
        return RSA_KEY
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


class FakeProvider(ThreadingHTTPServer):
    """`keys` are published; `says` is how it answers: "well", "500", "huge", "hangs", "dribbles", "nonsense"."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.keys: dict[str, tuple[str, Any]] = {"first": ("ES256", new_key("ES256"))}
        self.says = "well"
        self.extra_keys: list[Any] = []
        self.discovery: dict[str, Any] = {}
        self.asked: list[str] = []
        self.released = threading.Event()

    def public(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.keys[kid]
        form: dict[str, Any] = json.loads(_FORMS[algorithm].to_jwk(key.public_key()))
        return form | {"kid": kid}

    def documents(self) -> dict[str, Any]:
        discovery = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"} | self.discovery
        keys = [*map(self.public, self.keys), *self.extra_keys]
        return {"/.well-known/openid-configuration": discovery, "/keys": {"keys": keys}}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token; None leaves one out."""
        now = time.time()
        own = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300}
        return {name: value for name, value in (own | changes).items() if value is not None}

    def token(self, kid: str = "first", *, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        algorithm, key = self.keys[kid]
        return jwt.encode(self.claims(**changes), key, algorithm, headers={"kid": kid} | (headers or {}))

    @contextmanager
    def running(self) -> Iterator[FakeProvider]:
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeProvider

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.says == "hangs":
            self.server.released.wait(60)
            return
        self.send_response(500 if self.server.says == "500" else 200)
        self.end_headers()
        try:
            if self.server.says == "huge":
                for _ in range(100):
                    self.wfile.write(b" " * (1 << 20))
            elif self.server.says == "dribbles":
                while not self.server.released.wait(0.02):
                    self.wfile.write(b" ")
            elif self.server.says == "nonsense":
                self.wfile.write(b"[" * 100_000)
            else:
                self.wfile.write(json.dumps(self.server.documents()[self.path]).encode())
        except ConnectionError:
            pass

    def log_message(self, *args: Any) -> None:
        pass
