"""Stands before everything that is served over HTTP: who may ask, and what a browser may do with the answer.

BLADE has no login, so a browser on the same machine must not become a way in for other sites. Two doors are closed: a
site that points its own name at 127.0.0.1 (DNS rebinding; the Host header gives it away), and a site that makes the
browser send calls (Sec-Fetch-Site and Origin give it away). Programs that are no browsers send neither and pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from blade_server.addresses import is_loopback
from blade_server.web.transcoder.problem import Problem

HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""On every answer that does not say otherwise itself."""

_SAFE = frozenset({"GET", "HEAD"})
_MAX_HEADER_BYTES = 32 << 10


class Guard:
    """ASGI middleware. `loopback`: the server listens on loopback only, so only loopback names may be in Host."""

    def __init__(self, app: ASGIApp, *, loopback: bool) -> None:
        self._app = app
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the exchange on, or answers 421 or 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(event: Event) -> None:
            if event["type"] == "http.response.start":
                headers = MutableHeaders(scope=event)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(event)

        headers = Headers(scope=scope)
        problem = _too_much(headers) or self._refusal(scope["method"], headers)
        if problem is None:
            await self._app(scope, receive, with_headers)
        else:
            await _answer(problem, with_headers)

    def _refusal(self, method: str, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if self._loopback and not is_loopback(_host_name(host)):
            message = f"host: {host[:100]!r} is not this machine; BLADE listens on loopback (BLADE_HOST changes that)"
            return Problem(421, "PERMISSION_DENIED", message)
        if _from_another_site(method, headers, host):
            return Problem(403, "PERMISSION_DENIED", "a page of another site sent this request; such are not served")
        return None


def _too_much(headers: Headers) -> Problem | None:
    if sum(len(name) + len(value) for name, value in headers.raw) <= _MAX_HEADER_BYTES:
        return None
    return Problem(431, "INVALID_ARGUMENT", f"the headers are larger than {_MAX_HEADER_BYTES >> 10} KiB")


def _from_another_site(method: str, headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        # Following a link from elsewhere is fine, as long as it is a link and changes nothing.
        link = method in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("same-origin", "none") and not link
    origin = headers.get("origin")
    # The scheme is left out: behind a proxy that speaks TLS the two differ.
    return origin is not None and method not in _SAFE and urlsplit(origin).netloc.lower() != host.lower()


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _answer(problem: Problem, send: Send) -> None:
    body = orjson.dumps(problem.document()) + b"\n"
    length = str(len(body)).encode()
    raw = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem.code, "headers": raw})
    await send({"type": "http.response.body", "body": body})
