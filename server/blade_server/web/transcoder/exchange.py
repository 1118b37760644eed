"""One HTTP exchange seen from the transcoder: what came in, and the ways to answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Sequence
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.types import Message as Event
from starlette.types import Receive, Scope, Send

from blade_server.errors import BladeError
from blade_server.web.sender import Sender
from blade_server.web.transcoder.problem import Problem

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
MAX_HEADER_CHARS = 200

MAX_BODY_BYTES = 4 << 20
"""SQL is the largest there is: 256 KiB, and twelve times its characters where JSON escapes them."""
BODY_TIMEOUT_S = 30.0
STALL_TIMEOUT_S = 60.0
"""A client that takes nothing for this long is dropped, so that it cannot hold a warehouse statement for ever."""


class Exchange:
    """Reads the request's body once, writes one answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = Headers(scope=scope)
        self.verb: str = scope["method"]
        # Servers must not send raw_path, but all do; the fallback cannot tell an encoded slash from a slash.
        self.raw_path: str = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        self.query_string: bytes = scope["query_string"]
        self.sender: Sender = scope["state"]["sender"]
        self.started = False
        self._receive = receive
        self._send = send

    async def body(self, most_bytes: int = MAX_BODY_BYTES) -> bytes:
        """The whole body.

        Raises Problem 413 (more than `most_bytes`), 408 (not there in 30 seconds), 415 (not JSON).
        """
        announced = self.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > most_bytes:
            raise _too_large(most_bytes)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for part in self._parts():
                    parts.append(part)
                    size += len(part)
                    if size > most_bytes:
                        raise _too_large(most_bytes)
        except TimeoutError as exc:
            message = f"the body did not arrive within {BODY_TIMEOUT_S:.0f} seconds"
            raise Problem(408, "DEADLINE_EXCEEDED", message, headers={"connection": "close"}) from exc
        if size:
            self._check_type()
        return b"".join(parts)

    async def _parts(self) -> Any:
        more = True
        while more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            yield event.get("body", b"")
            more = event.get("more_body", False)

    def _check_type(self) -> None:
        """JSON only. What a plain HTML form can send is refused, too: forms of other sites ask no permission."""
        given = self.headers.get("content-type", "")
        name, _, parameters = given.lower().partition(";")
        charset = parameters.replace('"', "").strip()
        if name.strip() != "application/json" or charset not in ("", "charset=utf-8"):
            message = f"content-type: {given[:100]!r} is not read here; send JSON with 'content-type: application/json'"
            raise Problem(415, "INVALID_ARGUMENT", message)
        if self.headers.get("content-encoding", "identity") != "identity":
            raise Problem(415, "INVALID_ARGUMENT", "content-encoding: bodies are read uncompressed only")

    async def gone(self) -> None:
        """Returns when the client has left. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, code: int, content: Any, headers: dict[str, str]) -> None:
        """A whole answer; `content` None: no body."""
        body = b"" if content is None else orjson.dumps(content) + b"\n"
        if content is not None:
            headers = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        await self.start(code, headers)
        await self.write(b"" if self.verb == "HEAD" else body, more=False)

    async def start(self, code: int, headers: dict[str, str], cookies: Sequence[str] = ()) -> None:
        """Code and headers; `cookies` are those that the client is to keep, each with its attributes."""
        self.started = True
        lines = (*headers.items(), *(("set-cookie", cookie) for cookie in cookies))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
        await self._send({"type": "http.response.start", "status": code, "headers": raw})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        """A part of the body, at the client's pace. Raises ClientGone if it takes nothing for a minute."""
        event: Event = {"type": "http.response.body", "body": body, "more_body": more}
        try:
            async with asyncio.timeout(STALL_TIMEOUT_S):
                await self._send(event)
        except (TimeoutError, OSError) as exc:
            raise ClientGone from exc


class ClientGone(Exception):
    """The client has left; nobody is there to be answered."""


async def served(exchange: Exchange, work: Awaitable[None], request_id: str = "") -> None:
    """Does the work of an exchange, and answers with what it raises. Never raises for what a client can do."""
    try:
        await work
    except ClientGone:
        log.debug("%s %s: the client left", exchange.verb, exchange.raw_path)
    except Problem as problem:
        await _refuse(exchange, problem, request_id)
    except BladeError as error:
        await _refuse(exchange, Problem.of(error), request_id)
    except Exception:
        incident = secrets.token_hex(6)
        log.exception("incident %s in %s %s", incident, exchange.verb, exchange.raw_path)
        message = f"this call hit a bug in BLADE; the server's log has the cause under incident {incident}"
        await _refuse(exchange, Problem(500, "INTERNAL", message), request_id)


async def _refuse(exchange: Exchange, problem: Problem, request_id: str) -> None:
    if exchange.started:
        return  # a bug in mid-stream: the connection is cut without the closing chunk, which every client notices
    shown = request_id if request_id.isascii() and request_id.isprintable() else ""
    headers = {**problem.headers, **({REQUEST_ID: shown[:MAX_HEADER_CHARS]} if shown else {})}
    await exchange.answer(problem.code, problem.document(), headers)


def _too_large(most_bytes: int) -> Problem:
    # The rest of the body is not read, so the connection cannot go on.
    most = f"{most_bytes >> 20} MiB" if most_bytes >> 20 else f"{most_bytes >> 10} KiB"
    message = f"the body is larger than {most}"
    return Problem(413, "INVALID_ARGUMENT", message, headers={"connection": "close"})
