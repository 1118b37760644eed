"""An OpenID Connect provider: discovery, keys and tokens over real HTTP, signed with real keys."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
    """`keys` are published; `says` is how it answers: "well", "500", "huge", "hangs", "dribbles", "nonsense".

    `approve` is the part of a browser whose user signs in; the code it gives is good once. `device` has the answers of
    the token endpoint to who polls, one after the other, and `posted` the forms that came, with the header.
    """

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
        self.secret: str | None = "s3cret"
        self.codes: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
        self.refresh_tokens: set[str] = set()
        self.device: list[tuple[int, dict[str, Any]]] = []
        self.posted: list[tuple[str, dict[str, str], str]] = []

    def approve(self, url: str, **claims: Any) -> dict[str, str]:
        """What the browser comes back with, for the address that it was sent to; `claims` are those of the ID token."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = secrets.token_urlsafe(16)
        self.codes[code] = (asked, {"aud": asked["client_id"], "nonce": asked["nonce"]} | claims)
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def given(self, refresh: bool = False, **claims: Any) -> dict[str, Any]:
        """What is given for a code, or to a device."""
        given = {"access_token": self.token(jti=secrets.token_hex(4)), "token_type": "Bearer", "expires_in": 300}
        if refresh:
            given["refresh_token"] = secrets.token_urlsafe(16)
            self.refresh_tokens.add(given["refresh_token"])
        return given | {"id_token": self.token(**claims)}

    def answer_to(self, path: str, form: dict[str, str], header: str) -> tuple[int, dict[str, Any]]:
        """The token endpoint, and that of devices."""
        if path == "/device":
            where = {"verification_uri": f"{self.issuer}/enter", "user_code": "WDJB-MJHT", "device_code": "dev-1"}
            return 200, where | {"expires_in": 600, "interval": 1}
        if form["grant_type"] == "authorization_code":
            return self._for_code(form, header)
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return 400, {"error": "invalid_grant", "error_description": "grant request is invalid"}
            self.refresh_tokens.remove(form["refresh_token"])
            return 200, self.given(refresh=True)
        return self.device.pop(0)

    def _for_code(self, form: dict[str, str], header: str) -> tuple[int, dict[str, Any]]:
        asked, claims = self.codes.pop(form["code"], ({}, {}))
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked.get("code_challenge") != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "grant request is invalid"}
        basic = base64.b64encode(f"{asked['client_id']}:{self.secret}".encode()).decode()
        if self.secret and header != f"Basic {basic}" and form.get("client_secret") != self.secret:
            return 401, {"error": "invalid_client"}
        return 200, self.given(**claims)

    def public(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.keys[kid]
        form: dict[str, Any] = json.loads(_FORMS[algorithm].to_jwk(key.public_key()))
        return form | {"kid": kid}

    def documents(self) -> dict[str, Any]:
        places = {"jwks_uri": "keys", "authorization_endpoint": "auth", "token_endpoint": "token"}
        places["device_authorization_endpoint"] = "device"
        discovery = {"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in places.items()}
        discovery = discovery | self.discovery
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

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
        header = self.headers.get("authorization", "")
        self.server.posted.append((self.path, form, header))
        if self.server.says == "hangs":
            self.server.released.wait(60)
            return
        status, document = (500, {}) if self.server.says == "500" else self.server.answer_to(self.path, form, header)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *args: Any) -> None:
        pass
