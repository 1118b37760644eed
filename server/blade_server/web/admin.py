"""The port of probes and metrics: for machines of the operator, without sign-in and without TLS.

It has no content of rows. Few connections, small heads, no bodies; two scrapes at a time, in threads of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from blade_server.web.listener import ADMIN_HEAD_BYTES, Listener
from blade_server.web.probes import Checks, probes

Scrape = Callable[[str], tuple[bytes, str]]
"""For an Accept header: the metrics, and the type of their form. Blocks."""


class Admin:
    """Belongs to the loop it is started in."""

    def __init__(self, host: str, port: int, checks: Checks, scrape: Scrape) -> None:
        """Listens nowhere yet; port 0 takes a free one."""
        self._threads = ThreadPoolExecutor(2, "scrape")

        async def metrics(request: Request) -> Response:
            accept = request.headers.get("accept", "")
            content, kind = await asyncio.get_running_loop().run_in_executor(self._threads, scrape, accept)
            return Response(content, media_type=None, headers={"content-type": kind, "cache-control": "no-store"})

        app = Starlette(
            routes=[*probes(checks), Route("/metrics", metrics, methods=["GET"])], middleware=[Middleware(_Small)]
        )
        self._listener = Listener(app, host=host, port=port, admin=True)

    async def start(self) -> int:
        """Listens and returns the port. Raises OSError naming the address if it is taken."""
        return await self._listener.start()

    async def stop(self) -> None:
        """Cuts what is open after a second."""
        await self._listener.stop(1.0)
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Small:
    """Lets small requests through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        code = 200
        if sum(len(name) + len(value) for name, value in headers.raw) > ADMIN_HEAD_BYTES:
            code = 431
        elif "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
            code = 413
        refusal = PlainTextResponse("no request here is so large, or has a body\n", code, {"connection": "close"})
        await (self._app if code == 200 else refusal)(scope, receive, send)
