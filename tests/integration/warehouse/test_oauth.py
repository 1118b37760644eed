"""OAuth for machines against an HTTP server that speaks the workspace's token endpoint."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from blade_server.errors import WarehouseDenied, WarehouseUnavailable
from blade_server.warehouse import Target
from blade_server.warehouse.oauth import ClientCredentials, CredentialsProvider


class Endpoint(ThreadingHTTPServer):
    """Gives a new token for each request that knows the secret."""

    daemon_threads = True
    requests = 0
    expires_in: Any = 3600


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        self.server.requests += 1
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        expected = "Basic " + base64.b64encode(b"client:right").decode()
        known = self.headers["Authorization"] == expected and self.path == "/oidc/v1/token"
        good = known and form == {"grant_type": ["client_credentials"], "scope": ["all-apis"]}
        body = json.dumps({"access_token": f"token-{self.server.requests}", "expires_in": self.server.expires_in})
        self.send_response(200 if good else 401)
        self.end_headers()
        self.wfile.write(body.encode() if good else b"{}")

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def target(endpoint: Endpoint, secret: str = "right") -> Target:
    host = f"http://127.0.0.1:{endpoint.server_port}"
    return Target(host=host, http_path="/sql/1.0/warehouses/w", client_id="client", client_secret=SecretStr(secret))


def test_a_token_is_fetched_once_and_kept(endpoint):
    credentials = ClientCredentials(target(endpoint))
    assert [credentials.token(), credentials.token()] == ["token-1", "token-1"]


def test_a_token_that_has_ended_is_fetched_anew(endpoint):
    endpoint.expires_in = 0
    credentials = ClientCredentials(target(endpoint))
    assert [credentials.token(), credentials.token()] == ["token-1", "token-2"]


def test_sessions_share_a_token(endpoint):
    headers = [CredentialsProvider(target(endpoint))()() for _ in range(2)]
    assert headers == [{"Authorization": "Bearer token-1"}] * 2


def test_a_wrong_secret_is_denied_and_not_shown(endpoint):
    with pytest.raises(WarehouseDenied) as caught:
        ClientCredentials(target(endpoint, "wrong-secret")).token()
    assert "wrong-secret" not in str(caught.value)


def test_a_dead_endpoint_is_unavailable(endpoint):
    dead = Target(host="http://127.0.0.1:1", http_path="/w", client_id="client", client_secret=SecretStr("right"))
    with pytest.raises(WarehouseUnavailable, match="OAuth token endpoint"):
        ClientCredentials(dead).token()


def test_nonsense_for_a_token_is_unavailable(endpoint):
    endpoint.expires_in = "soon"
    with pytest.raises(WarehouseUnavailable, match="without a token"):
        ClientCredentials(target(endpoint)).token()
