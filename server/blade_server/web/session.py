"""Signing in to the page and out of it, and what only those see who are signed in.

POST /session with `{"token": "..."}` gives a session in a cookie, in place of the one there was; GET tells who is
signed in, with the token that changes have to carry (CSRF); DELETE ends it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from blade_server.core.access.door import Shown
from blade_server.core.access.sessions import Sessions, csrf_token
from blade_server.errors import Unauthenticated
from blade_server.model.access import SESSION_LIFE_S, Principal
from blade_server.web.guard import SIGN_IN_PATH
from blade_server.web.transcoder.exchange import Exchange, served
from blade_server.web.transcoder.problem import Problem

_MAX_TOKEN_CHARS = 16 << 10
_MAX_BODY_BYTES = 2 * _MAX_TOKEN_CHARS
"""Of strangers, before anything is known of them."""


async def who_asks(exchange: Exchange, sessions: Sessions) -> Principal:
    """Raises Unauthenticated, StorageUnavailable."""
    shown = Shown(authorization=exchange.headers.get("authorization", ""), session=exchange.sender.session)
    return await asyncio.to_thread(sessions.who, shown)


class SessionEndpoint:
    """ASGI application of /session. `warnings`: what people should know before they trust this server."""

    def __init__(self, sessions: Sessions, warnings: list[str]) -> None:
        self._sessions = sessions
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
        await exchange.answer(200, self._document(principal, csrf_token(session) if session else "", ends), {})

    async def _sign_in(self, exchange: Exchange) -> None:
        token, sender = _token_in(await exchange.body(_MAX_BODY_BYTES)), exchange.sender
        signed_in = await asyncio.to_thread(self._sessions.sign_in, token, sender.neighbourhood, sender.session)
        csrf = csrf_token(signed_in.session_id)
        content = self._document(signed_in.principal, csrf, signed_in.expire_time)
        await exchange.answer(200, content, _set_cookie(exchange, signed_in.session_id, round(SESSION_LIFE_S)))

    async def _sign_out(self, exchange: Exchange) -> None:
        if exchange.sender.session:
            await asyncio.to_thread(self._sessions.sign_out, exchange.sender.session)
        await exchange.answer(204, None, _set_cookie(exchange, "", 0))

    def _document(self, principal: Principal, csrf: str, ends: Any) -> dict[str, Any]:
        return {
            "principal": principal.name,
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


def _token_in(body: bytes) -> str:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Problem.invalid("body", 'is not JSON; send {"token": "..."}') from exc
    token = content.get("token") if isinstance(content, dict) else None
    if not isinstance(token, str) or not token.strip() or len(token) > _MAX_TOKEN_CHARS:
        raise Problem.invalid("token", f"must be a text of 1 to {_MAX_TOKEN_CHARS} characters")
    return token.strip()


def _set_cookie(exchange: Exchange, value: str, lasts_s: int) -> dict[str, str]:
    secure = "; Secure" if exchange.sender.secure else ""
    cookie = f"{exchange.sender.cookie}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}"
    return {"set-cookie": cookie}


async def _refuse_verb(exchange: Exchange) -> None:
    message, allowed = f"{exchange.verb} is not for {SIGN_IN_PATH}", {"allow": "DELETE, GET, POST"}
    raise Problem(405, "UNIMPLEMENTED", message, headers=allowed)
