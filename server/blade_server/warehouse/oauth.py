"""OAuth for machines: a client id and its secret become short-lived tokens.

The driver leaves this to databricks-sdk, which is a large package for one POST; it takes any object with this shape as
its `credentials_provider`. Protocol: `POST {workspace}/oidc/v1/token`, grant `client_credentials`, scope `all-apis`
(https://docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import urllib3

from blade_server.errors import WarehouseDenied, WarehouseUnavailable
from blade_server.warehouse import reach
from blade_server.warehouse.target import Target

REFRESH_BEFORE_S = 120.0
"""A token is renewed this long before it ends, so that none runs out on its way."""


class ClientCredentials:
    """Fetches and keeps the token of one service principal on one workspace. Thread-safe."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._token = ""
        self._good_until = 0.0

    def token(self) -> str:
        """A token that is good for a while yet.

        Raises:
            WarehouseDenied: the workspace does not know the client id or refuses its secret.
            WarehouseUnavailable: the token endpoint does not answer as it should.
        """
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._token, lifetime_s = self._fetch()
                self._good_until = time.monotonic() + max(lifetime_s - REFRESH_BEFORE_S, lifetime_s / 2)
            return self._token

    def _fetch(self) -> tuple[str, float]:
        target = self._target
        secret = target.client_secret.get_secret_value() if target.client_secret else ""
        try:
            answer = self._pool().request(
                "POST",
                f"{target.base_url}/oidc/v1/token",
                body=urlencode({"grant_type": "client_credentials", "scope": "all-apis"}),
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    **urllib3.make_headers(basic_auth=f"{target.client_id}:{secret}"),
                },
                timeout=min(target.timeout_s, 20.0),
                retries=1,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise WarehouseUnavailable(f"{target.host} does not answer at its OAuth token endpoint") from exc
        if answer.status in (400, 401, 403):
            raise WarehouseDenied(
                f"{target.host} refused client id {target.client_id!r} (HTTP {answer.status}): check "
                "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET",
                metadata={"http_status": str(answer.status)},
            )
        return _read(answer.status, answer.data, target)

    def _pool(self) -> Any:
        ca_file = self._target.ca_file
        with reach.bound(self._target):
            return reach.Pools(ca_certs=str(ca_file) if ca_file else None)


def _read(status: int, body: bytes, target: Target) -> tuple[str, float]:
    try:
        document = json.loads(body) if status == 200 else {}
        return str(document["access_token"]), float(document.get("expires_in", 3600))
    except (ValueError, KeyError, TypeError) as exc:
        raise WarehouseUnavailable(
            f"{target.host} answered HTTP {status} without a token at its OAuth token endpoint"
        ) from exc


@lru_cache(maxsize=256)
def client_credentials(target: Target) -> ClientCredentials:
    """The one keeper of tokens for a target, so that sessions share them."""
    return ClientCredentials(target)


class CredentialsProvider:
    """The shape in which the driver wants it (databricks.sql.auth.authenticators.CredentialsProvider)."""

    def __init__(self, target: Target) -> None:
        self._credentials = client_credentials(target)

    def auth_type(self) -> str:
        """Name of the method, for the driver's statistics."""
        return "oauth-m2m"

    def __call__(self) -> Callable[[], dict[str, str]]:
        """A function that gives the headers for each request."""
        return lambda: {"Authorization": f"Bearer {self._credentials.token()}"}
