"""What each fault does to the request that it strikes.

Plain ASGI, because some of them answer nothing at all.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blade_sandbox.catalog.fault_switches import Rule

_MAX_BODY_BYTES = 64 * 1024 * 1024


class Strikes:
    """The faults of single requests to an application.

    Attributes:
        stopping: ends requests that hang.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.stopping = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()
        self._strikes: dict[str, Callable[[Rule, Scope, Receive, Send], Awaitable[None]]] = {
            "status": self._answer_status,
            "hang": self._hang,
            "drop_reply": self._drop_reply,
            "reset_after_body": self._reset_after_body,
            "late": self._answer_then_do,
            "short_results": self._shorten,
        }

    async def strike(self, fault: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request, or not, as the fault says."""
        await self._strikes[fault.name](fault, scope, receive, send)

    async def _answer_status(self, fault: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
        await _error(fault.code, f"sandbox fault: status {fault.code}", headers)(scope, receive, send)

    async def _drop_reply(self, _: Rule, scope: Scope, receive: Receive, __: Send) -> None:
        await self._app(scope, receive, _swallow)
        await _close(scope, receive, reset=False)

    async def _reset_after_body(self, _: Rule, scope: Scope, receive: Receive, __: Send) -> None:
        await _whole(receive)
        await _close(scope, receive, reset=True)

    async def _answer_then_do(self, fault: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _whole(receive)
        await _error(fault.code, f"sandbox fault: late {fault.code}", {})(scope, receive, send)
        late = asyncio.create_task(self._do_later(fault.after_s, dict(scope), body))
        self._late.add(late)
        late.add_done_callback(self._late.discard)

    async def _do_later(self, after_s: float, scope: Scope, body: bytes) -> None:
        await asyncio.sleep(after_s)

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, _swallow)

    async def _shorten(self, fault: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        status, body = answer[0]["status"], b"".join(message.get("body", b"") for message in answer)
        if status == 200:
            results = orjson.loads(body)["results"]
            body = orjson.dumps({"results": results[: max(0, len(results) - fault.results)]})
        await Response(body, status, media_type="application/json")(scope, receive, send)

    async def _hang(self, _: Rule, scope: Scope, receive: Receive, __: Send) -> None:
        left = asyncio.ensure_future(_until_left(receive))
        stopped = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({left, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (left, stopped):
            waiting.cancel()
        await asyncio.gather(left, stopped, return_exceptions=True)
        await _close(scope, receive, reset=False)


def _error(status: int, message: str, headers: dict[str, str]) -> Response:
    body = orjson.dumps({"error": message})
    return Response(b"" if status in {204, 304} else body, status, headers, "application/json")


async def _swallow(_: Message) -> None:
    return


async def _whole(receive: Receive) -> bytes:
    """The body, of which no more than 64 MiB are kept: this stands before the catalog's own bounds."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        size += len(message.get("body", b""))
        if size <= _MAX_BODY_BYTES:
            chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


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
