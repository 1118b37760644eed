"""Stands before the catalog's routes: asks for the token, counts, and injects the faults that concern a whole request.

Plain ASGI, because some faults answer nothing at all (strikes).
"""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from blade_sandbox.catalog.counters import Counters
from blade_sandbox.catalog.fault_switches import DELETES, UPLOADS, FaultSwitches
from blade_sandbox.catalog.strikes import Strikes

_UNAUTHORIZED = JSONResponse(
    {"error": "this catalog wants 'Authorization: Bearer TOKEN'"}, 401, {"WWW-Authenticate": "Bearer"}
)


class Gate:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, *, token: str | None, faults: FaultSwitches, counters: Counters) -> None:
        self._app = app
        self._credentials = None if token is None else f"Bearer {token}".encode()
        self._faults = faults
        self._counters = counters
        self._strikes = Strikes(app)

    def stop(self) -> None:
        """Ends the requests that hang."""
        self._strikes.stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path: str = scope["path"]
        if path.startswith("/v1/items/"):
            # Decoded, an item id may hold line breaks, which match no route, and slashes, which match too many.
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        if path == "/healthz":
            await self._app(scope, receive, send)
        elif not self._allowed(scope):
            await _UNAUTHORIZED(scope, receive, send)
        elif not path.startswith("/v1/"):
            await self._app(scope, receive, send)
        else:
            kind = _kind(scope["method"], path)
            trace = _header(scope, b"traceparent").decode("latin-1")
            self._counters.enter(upload=kind in UPLOADS, delete=kind in DELETES, traceparent=trace)
            try:
                await self._serve(kind, scope, receive, send)
            except ClientDisconnect:
                pass  # the caller left while sending: nothing is stored, nobody to tell
            finally:
                self._counters.leave()

    def _allowed(self, scope: Scope) -> bool:
        if self._credentials is None:
            return True
        return hmac.compare_digest(_header(scope, b"authorization"), self._credentials)

    async def _serve(self, kind: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        if kind is None:
            await self._app(scope, receive, send)
            return
        fault = self._faults.take(kind)
        if self._faults.latency_s:
            await asyncio.sleep(self._faults.latency_s)
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await self._strikes.strike(fault, scope, receive, send)


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


def _kind(method: str, path: str) -> str | None:
    if method == "HEAD":
        return "lookup"
    if method == "DELETE" and path.startswith("/v1/items/"):
        return "delete_single"
    return _KINDS.get((method, path))


_KINDS = {
    ("POST", "/v1/items"): "single",
    ("POST", "/v1/items:batch"): "batch",
    ("POST", "/v1/items:batchDelete"): "delete_batch",
    ("POST", "/v1/items:lookup"): "lookup",
    ("GET", "/v1/items"): "list",
    ("GET", "/v1/capabilities"): "capabilities",
}
