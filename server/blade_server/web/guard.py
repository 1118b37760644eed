"""Stands before everything that is served over HTTP: who may ask, and what a browser may do with the answer.

A browser must not become a way in for other sites. Three doors are closed: a site that points its own name at this
server (DNS rebinding; the Host header gives it away), a site that makes the browser send calls (Sec-Fetch-Site and
Origin give it away), and, should both fail, a change that comes with a session's cookie and without its CSRF token.
Programs that are no browsers send none of it and pass.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from blade_server.addresses import is_loopback
from blade_server.core.access.sessions import csrf_token
from blade_server.model.policy import WebPolicy
from blade_server.web.sender import Sender, Senders
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

SIGN_IN_PATH = "/session"
_SAFE = frozenset({"GET", "HEAD"})
_MAX_HEADER_BYTES = 32 << 10
CSRF_HEADER = "x-blade-csrf"
ANY_HOST = "*"


class Guard:
    """ASGI middleware. Leaves in the request's state who sent it (`sender`).

    Args:
        app: what it stands before.
        policy: the names that may stand in Host, and whose X-Forwarded-For counts.
        sign_in: whether sessions count.
    """

    def __init__(self, app: ASGIApp, *, policy: WebPolicy, sign_in: bool) -> None:
        self._app = app
        self._host = policy.listen.host.lower()
        self._allowed = policy.allowed_hosts
        self._senders = Senders(policy, sign_in=sign_in)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the exchange on, or answers 400, 403, 421 or 431."""
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
        sender = self._senders.of(scope, headers)
        problem = _too_much(headers) or self._wrong_host(scope, headers) or _refusal(scope, headers, sender)
        if problem is None:
            scope["state"]["sender"] = sender
            await self._app(scope, receive, with_headers)
        else:
            await _answer(problem, with_headers)

    def _wrong_host(self, scope: Scope, headers: Headers) -> Problem | None:
        """By its own name or address, that which the connection came in on, a server is always reached."""
        host = headers.get("host", "")
        name = _host_name(host)
        arrived_at = (scope.get("server") or ("", 0))[0]
        if name and (
            is_loopback(name) or name in {self._host, arrived_at, *self._allowed} or ANY_HOST in self._allowed
        ):
            return None
        message = f"host: {host[:100]!r} is no name of this server; if it is to be one, set BLADE_ALLOWED_HOSTS to it"
        return Problem(421, "PERMISSION_DENIED", message)


def _refusal(scope: Scope, headers: Headers, sender: Sender) -> Problem | None:
    if _from_another_site(scope["method"], headers, headers.get("host", "")):
        return Problem(403, "PERMISSION_DENIED", "a page of another site sent this request; such are not served")
    if not sender.session:
        return None
    if "authorization" in headers:
        message = f"authorization: comes together with the cookie {sender.cookie}; send one of them"
        return Problem(400, "INVALID_ARGUMENT", message)
    signs_in = scope["method"] == "POST" and scope["path"] == SIGN_IN_PATH
    given, right = headers.get(CSRF_HEADER, ""), csrf_token(sender.session)
    if scope["method"] in _SAFE or signs_in or hmac.compare_digest(given.encode(), right.encode()):
        return None
    message = f"{CSRF_HEADER}: is missing or wrong; with a session, send what GET /session shows as csrf"
    return Problem(403, "PERMISSION_DENIED", message)


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
