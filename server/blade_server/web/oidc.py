"""Signing in at the identity provider, as far as it is HTTP: out to it, and back.

What a browser has to remember meanwhile stands in a cookie of ten minutes, of which the server keeps nothing. It needs
no signature: it says nothing of who somebody is, and whoever could put another one into a browser could as well take
one that this server has given him.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.requests import cookie_parser
from starlette.types import Receive, Scope, Send

from blade_server.core.access.sessions import Sessions, SignedIn
from blade_server.core.audit.refusals import Refusals
from blade_server.errors import BladeError, QuotaExceeded, Unauthenticated
from blade_server.model.policy import CALLBACK_PATH, OIDC_PATH
from blade_server.oidc import Answer, Begun
from blade_server.web import notice
from blade_server.web.session import session_cookie, signing_in
from blade_server.web.transcoder.exchange import Exchange, served
from blade_server.web.transcoder.problem import Problem

T = TypeVar("T")

COOKIE = "blade_sign_in"
SECURE_COOKIE = "__Host-blade_sign_in"
LIFE_S = 600
_MAX_NEXT_CHARS = 1000
_MAX_QUERY_CHARS = 8192
_THREADS = 4
_MOST_WAITING = 32
_CLOCK_S = 60.0
"""By which the clocks of two servers may differ."""
_PLACE = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
"""A path, maybe with a query and a fragment. Browsers take // and, anywhere, a backslash for the begin of a host."""
_FORM = re.compile(r"(\d{1,12})\.([\w-]{43})\.([\w-]{43})\.([\w-]{64})\.([\w-]*)", re.ASCII)
_BEGUN_ELSEWHERE = (
    "this sign-in was begun more than ten minutes ago, in another browser, or another one was begun since; begin again"
)


class OidcSignIn:
    """ASGI application of the two addresses: one sends a browser to the provider, the other takes it back."""

    def __init__(self, sessions: Sessions, refusals: Refusals) -> None:
        self._sessions = sessions
        self._refusals = refusals
        self._threads = ThreadPoolExecutor(_THREADS, "web-oidc")  # they may wait for the provider
        self._waiting = 0
        self._paths = {OIDC_PATH: self._begin, CALLBACK_PATH: self._come_back}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One exchange."""
        exchange = Exchange(scope, receive, send)
        await served(exchange, self._in_words(exchange, self._paths[scope["path"]](exchange)))

    def close(self) -> None:
        """Waits for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _begin(self, exchange: Exchange) -> None:
        wanted = place(_query(exchange).get("next", ""))
        to, begun = await self._in_thread(self._sessions.begin_at_provider)
        cookie = _cookie(exchange, _written(begun, wanted), LIFE_S)
        await exchange.start(303, {"location": to, "content-length": "0"}, [cookie])
        await exchange.write(b"", more=False)

    async def _come_back(self, exchange: Exchange) -> None:
        said = _query(exchange)
        answer = Answer(
            state=said.get("state", ""),
            code=said.get("code", ""),
            issuer=said.get("iss", ""),
            error=said.get("error", ""),
            description=said.get("error_description", ""),
        )
        browser = exchange.sender.browser

        async def signed_in_anew() -> tuple[SignedIn, str]:
            begun, wanted = _begun_by(exchange)
            return await self._in_thread(lambda: self._sessions.sign_in_at_provider(answer, begun, browser)), wanted

        signed_in, wanted = await signing_in(exchange, self._refusals, signed_in_anew())
        cookies = [session_cookie(exchange, signed_in), _cookie(exchange, "", 0)]
        await notice.go_on(exchange, f"You are signed in as {signed_in.principal}", wanted, cookies)

    async def _in_words(self, exchange: Exchange, work: Awaitable[None]) -> None:
        """What goes wrong is for people, and nothing of what was begun is good any more."""
        try:
            await work
        except (BladeError, Problem) as error:
            problem = error if isinstance(error, Problem) else Problem.of(error)
            await notice.say(exchange, problem, "You are not signed in", [_cookie(exchange, "", 0)])

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= _MOST_WAITING:
            message = "too many sign in at one moment; try again"
            raise QuotaExceeded(message, subject="sign-ins at once", retry_after_s=5.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def place(wanted: str) -> str:
    """Where to go on: a place of this server. Whatever else somebody asks for, it is the first page."""
    return wanted if len(wanted) <= _MAX_NEXT_CHARS and _PLACE.fullmatch(wanted) else "/"


def _query(exchange: Exchange) -> dict[str, str]:
    """Each parameter once. Raises Problem for more, and for what is no GET."""
    if exchange.verb != "GET":
        message = f"{exchange.verb} is not for {exchange.raw_path}"
        raise Problem(405, "UNIMPLEMENTED", message, headers={"allow": "GET"})
    if len(exchange.query_string) > _MAX_QUERY_CHARS:
        raise Problem.invalid("query", f"is longer than {_MAX_QUERY_CHARS} characters")
    pairs = parse_qsl(exchange.query_string.decode("latin-1"), errors="replace", max_num_fields=20)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Problem.invalid("query", "has a parameter more than once")
    return found


def _cookie(exchange: Exchange, value: str, lasts_s: int) -> str:
    """Lax, and not Strict: it is sent when the browser comes back from the provider, which is another site."""
    secure = "; Secure" if exchange.sender.secure else ""
    return f"{_name(exchange)}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{secure}"


def _name(exchange: Exchange) -> str:
    return SECURE_COOKIE if exchange.sender.secure else COOKIE


def _written(begun: Begun, wanted: str) -> str:
    place_ = base64.urlsafe_b64encode(wanted.encode()).decode().rstrip("=")
    return ".".join((str(round(time.time())), begun.state, begun.nonce, begun.verifier, place_))


def _begun_by(exchange: Exchange) -> tuple[Begun, str]:
    """What the browser has kept, and where it wants to go. Raises Unauthenticated."""
    found = _FORM.fullmatch(cookie_parser(exchange.headers.get("cookie", "")).get(_name(exchange), ""))
    if found is None or not -_CLOCK_S <= time.time() - int(found[1]) <= LIFE_S:
        raise Unauthenticated(_BEGUN_ELSEWHERE)
    try:
        wanted = base64.urlsafe_b64decode(found[5] + "=" * (-len(found[5]) % 4)).decode("ascii")
    except ValueError:
        wanted = ""
    return Begun(state=found[2], nonce=found[3], verifier=found[4]), place(wanted)
