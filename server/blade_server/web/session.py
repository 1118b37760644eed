"""Signing in to the page and out of it, and what only those see who are signed in.

POST /session with `{"token": "..."}`, or with the `{"code": "..."}` of `blade open`, gives a session in a cookie, in
place of the one there was; GET tells who is signed in, with the token that changes carry (CSRF); DELETE ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from blade_server.core.access.door import Shown
from blade_server.core.access.sessions import Sessions, csrf_token
from blade_server.core.access.sessions import SignedIn as NewSession
from blade_server.core.audit.refusals import Refusals
from blade_server.errors import Unauthenticated
from blade_server.model.access import SESSION_LIFE_S, Principal
from blade_server.web.guard import SIGN_IN_PATH
from blade_server.web.transcoder.exchange import Exchange, served
from blade_server.web.transcoder.problem import Problem

T = TypeVar("T")

_MAX_TOKEN_CHARS = 16 << 10
_MAX_BODY_BYTES = 2 * _MAX_TOKEN_CHARS
"""Of strangers, before anything is known of them."""


async def who_asks(exchange: Exchange, sessions: Sessions) -> Principal:
    """Raises Unauthenticated, StorageUnavailable."""
    shown = Shown(authorization=exchange.headers.get("authorization", ""), session=exchange.sender.session)
    return await asyncio.to_thread(sessions.who, shown)


class SessionEndpoint:
    """ASGI application of /session. `warnings`: what people should know before they trust this server."""

    def __init__(self, sessions: Sessions, refusals: Refusals, warnings: list[str]) -> None:
        self._sessions = sessions
        self._refusals = refusals
        self._warnings = warnings
        self._verbs = {"GET": self._show, "POST": self._sign_in, "DELETE": self._sign_out}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One exchange."""
        exchange = Exchange(scope, receive, send)
        await served(exchange, self._verbs.get(exchange.verb, _refuse_verb)(exchange))

    async def _show(self, exchange: Exchange) -> None:
        principal = await who_asks(exchange, self._sessions)
        session = exchange.sender.session
        ends = principal.expire_time
        await exchange.answer(200, self._document(principal.name, csrf_token(session) if session else "", ends), {})

    async def _sign_in(self, exchange: Exchange) -> None:
        kind, text = _shown_in(await exchange.body(_MAX_BODY_BYTES))
        sign_in = self._sessions.sign_in if kind == "token" else self._sessions.sign_in_by_code
        signed_in = await signing_in(
            exchange, self._refusals, asyncio.to_thread(sign_in, text, exchange.sender.browser)
        )
        csrf = csrf_token(signed_in.session_id)
        content = self._document(signed_in.principal, csrf, signed_in.expire_time)
        await exchange.answer(200, content, {"set-cookie": session_cookie(exchange, signed_in)})

    async def _sign_out(self, exchange: Exchange) -> None:
        if exchange.sender.session:
            await asyncio.to_thread(self._sessions.sign_out, exchange.sender.browser)
        await exchange.answer(204, None, {"set-cookie": session_cookie(exchange, None)})

    def _document(self, principal: str, csrf: str, ends: Any) -> dict[str, Any]:
        return {
            "principal": principal,
            "signInNeeded": self._sessions.needed,
            "csrf": csrf,
            "expireTime": ends,
            "warnings": self._warnings,
        }


class SignedIn:
    """Lets through those who are signed in. `otherwise`: what others get instead; None: an error alone."""

    def __init__(self, app: ASGIApp, sessions: Sessions, otherwise: ASGIApp | None = None) -> None:
        self._app = app
        self._sessions = sessions
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One exchange."""
        exchange = Exchange(scope, receive, send)
        await served(exchange, self._pass_on(exchange, scope, receive, send))

    async def _pass_on(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await who_asks(exchange, self._sessions)
        except Unauthenticated:
            if self._otherwise is None:
                raise
            await self._otherwise(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def signing_in(exchange: Exchange, refusals: Refusals, work: Awaitable[T]) -> T:
    """What signing in gives; if nobody is known by what was shown, the audit log hears of it."""
    try:
        return await work
    except Unauthenticated as exc:
        refusals.stranger(exchange.sender.peer, exc)
        raise


def session_cookie(exchange: Exchange, signed_in: NewSession | None) -> str:
    """What gives a browser its session, or, with None, takes it away."""
    value, lasts_s = ("", 0) if signed_in is None else (signed_in.session_id, round(SESSION_LIFE_S))
    secure = "; Secure" if exchange.sender.secure else ""
    return f"{exchange.sender.cookie}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}"


def _shown_in(body: bytes) -> tuple[str, str]:
    """`token` or `code`, and what it says."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Problem.invalid("body", 'is not JSON; send {"token": "..."}') from exc
    kind = "code" if isinstance(content, dict) and "code" in content else "token"
    text = content.get(kind) if isinstance(content, dict) else None
    if not isinstance(text, str) or not text.strip() or len(text) > _MAX_TOKEN_CHARS:
        raise Problem.invalid(kind, f"must be a text of 1 to {_MAX_TOKEN_CHARS} characters")
    return kind, text.strip()


async def _refuse_verb(exchange: Exchange) -> None:
    message, allowed = f"{exchange.verb} is not for {SIGN_IN_PATH}", {"allow": "DELETE, GET, POST"}
    raise Problem(405, "UNIMPLEMENTED", message, headers=allowed)
