"""Stands before the catalog's routes: asks for the token, counts, and injects the faults that concern a whole request.

Plain ASGI, because some faults answer nothing at all.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import struct

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blade_sandbox.catalog.counters import Counters
from blade_sandbox.catalog.fault_switches import UPLOADS, FaultSwitches


class Gate:
    """The outermost ASGI application; `stopping` ends requests that hang."""

    def __init__(self, app: ASGIApp, *, token: str | None, faults: FaultSwitches, counters: Counters) -> None:
        self._app = app
        self._credentials = None if token is None else f"Bearer {token}".encode()
        self._faults = faults
        self._counters = counters
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path: str = scope["path"]
        if path.startswith("/v1/items/"):
            # Decoded, an item id may hold line breaks, which match no route, and slashes, which match too many.
            scope = {**scope, "path": scope["raw_path"].decode("ascii")}
        if path == "/healthz":
            await self._app(scope, receive, send)
        elif not self._allowed(scope):
            await _error(401, "this catalog wants 'Authorization: Bearer TOKEN'", {"WWW-Authenticate": "Bearer"})(
                scope, receive, send
            )
        elif not path.startswith("/v1/"):
            await self._app(scope, receive, send)
        else:
            kind = _kind(scope["method"], path)
            self._counters.enter(upload=kind in UPLOADS)
            try:
                await self._serve(kind, scope, receive, send)
            except ClientDisconnect:
                pass  # the caller left while sending: nothing is stored, nobody to tell
            finally:
                self._counters.leave()

    def _allowed(self, scope: Scope) -> bool:
        if self._credentials is None:
            return True
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._credentials)

    async def _serve(self, kind: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        if kind is None:
            await self._app(scope, receive, send)
            return
        fault = self._faults.take(kind)
        if self._faults.latency_s:
            await asyncio.sleep(self._faults.latency_s)
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.name == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            await _error(fault.code, f"sandbox fault: status {fault.code}", headers)(scope, receive, send)
        elif fault.name == "hang":
            await self._hang(scope, receive)
        elif fault.name == "drop_reply":
            await self._app(scope, receive, _swallow)
            await _close(scope, receive, reset=False)
        else:
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
            await _close(scope, receive, reset=True)

    async def _hang(self, scope: Scope, receive: Receive) -> None:
        left = asyncio.ensure_future(_until_left(receive))
        stopped = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({left, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (left, stopped):
            waiting.cancel()
        await asyncio.gather(left, stopped, return_exceptions=True)
        await _close(scope, receive, reset=False)


def _kind(method: str, path: str) -> str | None:
    if method == "POST":
        return {"/v1/items": "single", "/v1/items:batch": "batch", "/v1/items:lookup": "lookup"}.get(path)
    if method == "HEAD":
        return "lookup"
    return "capabilities" if path == "/v1/capabilities" else None


def _error(status: int, message: str, headers: dict[str, str]) -> Response:
    body = orjson.dumps({"error": message})
    return Response(b"" if status in {204, 304} else body, status, headers, "application/json")


async def _swallow(_: Message) -> None:
    return


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _close(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Closes the connection without an answer; `reset`: by RST, as a process that was killed."""
    transport: asyncio.Transport = scope["state"]["transport"]
    if reset:
        linger = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
    await _until_left(receive)
