"""uvicorn inside the loop of the gRPC server, with limits on what an open connection may cost.

uvicorn alone keeps a connection on which nothing is ever sent, and takes the signals of the process; not so here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from blade_server.ports import until_free
from blade_server.tls import Certificates

MAX_CONNECTIONS = 512
IDLE_TIMEOUT_S = 15.0
"""A connection without an exchange for this long, and at most twice as long, is closed, whatever it dribbles."""
MAX_HEAD_BYTES = 256 << 10
"""A filter of 64 KiB, percent-encoded in the query, must fit."""
ADMIN_CONNECTIONS = 32
ADMIN_HEAD_BYTES = 8 << 10
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(H11Protocol):
    """A connection that must have an exchange now and then, one of at most `most`."""

    most = MAX_CONNECTIONS
    _idle_timer: asyncio.TimerHandle | None = None
    _idle_since: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Turns away what is too much, at once: waiting would use up the process's open files."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(_BUSY)
            transport.close()
        else:
            self._idle_timer = self.loop.call_later(IDLE_TIMEOUT_S, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """Also ends the timer."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What no request is, is answered with 400; a head that is too long with 431, which tells what to do."""
        error = sys.exception()
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self.transport.write(_TOO_LONG)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _close_if_idle(self) -> None:
        """Closes it if the last exchange was over the last time, too, and no other came since."""
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is self._idle_since:
            self.transport.close()
            return
        self._idle_since = self.cycle if idle else self
        self._idle_timer = self.loop.call_later(IDLE_TIMEOUT_S, self._close_if_idle)


class AdminProtocol(BoundedProtocol):
    """One of a few."""

    most = ADMIN_CONNECTIONS


class _Server(uvicorn.Server):
    """Tells when it is up, and leaves the signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """Serves an ASGI application on one port.

    Args:
        app: what to serve; its lifespan begins with `start` and ends with `stop`.
        host: address to listen on.
        port: 0 takes a free one.
        tls: None means plain HTTP.
        admin: it is the port of probes and metrics, for a few connections with small heads.
    """

    def __init__(
        self, app: ASGIApp, *, host: str, port: int, tls: Certificates | None = None, admin: bool = False
    ) -> None:
        self._app = app
        self._admin = admin
        self._address = (host, port)
        self._tls: dict[str, Any] = {"ssl_context_factory": lambda *_: tls.context()} if tls else {}
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listens, and returns the port. Raises OSError naming the address if it is taken."""
        listening = await _bound(*self._address, admin=self._admin)
        config = uvicorn.Config(
            self._app,
            http=AdminProtocol if self._admin else BoundedProtocol,
            ws="none",
            lifespan="on",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=round(IDLE_TIMEOUT_S),
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=ADMIN_HEAD_BYTES if self._admin else MAX_HEAD_BYTES,
            **self._tls,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listening]), name="web")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait((self._serving, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._serving.done():
            listening.close()
            await self._serving
        port: int = listening.getsockname()[1]
        return port

    async def stop(self, grace_s: float) -> None:
        """Takes no new connections, gives the running exchanges this long, then cuts them."""
        if self._server is None or self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, round(grace_s))
        self._server.should_exit = True
        await self._serving


async def _bound(host: str, port: int, *, admin: bool) -> socket.socket:
    try:
        if admin:
            await until_free(host, port, "BLADE_ADMIN_PORT", zero="none")
        else:
            await until_free(host, port, "BLADE_HTTP_PORT")
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        bound = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as exc:
        raise OSError(exc.strerror if admin else f"HTTP {exc.strerror}") from exc
    # Its connections inherit it. Otherwise the body of an answer waits for the client's late ACK of its head, 40 ms.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound
