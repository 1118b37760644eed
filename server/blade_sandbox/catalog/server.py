"""The catalog as a server: uvicorn in a thread of its own, on a port of its own.

uvicorn hides the connection from the application and keeps its listener for life; the two faults that need them (a
connection closed without an answer, a port that refuses) are the reason for what is done to it here.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from blade_sandbox.catalog.counters import Counters
from blade_sandbox.catalog.fault_switches import FaultSwitches
from blade_sandbox.catalog.gate import Gate
from blade_sandbox.catalog.handlers import Handlers
from blade_sandbox.catalog.idempotency import IdempotencyCache
from blade_sandbox.catalog.offer import Limits
from blade_sandbox.catalog.store import Store

_BACKLOG = 1024
_KEEP_ALIVE_S = 75
_MAX_HEAD_BYTES = 256 * 1024  # a percent-encoded item id may be long


class _Connection(H11Protocol):
    """Shows its transport to the application, in the request's state."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


@dataclass(kw_only=True, eq=False)
class CatalogServer:
    """A sandbox catalog; nothing is opened before `start`.

    Without `batch` and `lookup` it tells no capabilities at all, like a catalog that only knows the single upload.
    What it answered with 2xx is in `directory` and survives the death of the process. All methods may be called
    from any thread.

    Args:
        host: address to listen on.
        port: 0 takes a free one, known after `start`.
        token: the Bearer token it asks for; None: none.
        directory: where items are kept; of one catalog at a time.
        batch: take many items a request.
        lookup: answer look-ups of many ids.
        deletes: delete items.
        batch_delete: many of them a request.
        listing: list the items of a data source.
        replace: by item id; False: every upload adds a copy, so that doubles can be counted.
        max_batch_items: items a batch.
        max_delete_items: items a batch of deletes.
        max_request_bytes: bytes a request.
        idempotency_keys: how many are remembered; 0 ignores the header.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    directory: Path
    batch: bool = True
    lookup: bool = True
    deletes: bool = True
    batch_delete: bool = True
    listing: bool = True
    replace: bool = True
    max_batch_items: int = 500
    max_delete_items: int = 500
    max_request_bytes: int = 32 * 1024 * 1024
    idempotency_keys: int = 10_000

    def __post_init__(self) -> None:
        there = {
            "batch": self.batch,
            "lookup": self.lookup,
            "deletes": self.deletes,
            "batch_delete": self.batch_delete,
            "list": self.listing,
        }
        self._limits = Limits(
            functions=frozenset(name for name, is_there in there.items() if is_there),
            replaces=self.replace,
            honours_keys=self.idempotency_keys > 0,
            max_batch_items=self.max_batch_items,
            max_delete_items=self.max_delete_items,
            max_request_bytes=self.max_request_bytes,
        )
        self._faults = FaultSwitches()
        self._answers = IdempotencyCache(self.idempotency_keys)
        self._counters = Counters()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL; the port is known after `start`."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> None:
        """Listens when it returns. Raises OSError (port taken) or RuntimeError (directory in use)."""
        listener = self._bound()
        self.port = listener.getsockname()[1]
        ready: threading.Event = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(listener, ready))
            except BaseException as exc:  # handed to whoever waits in start()
                failure.append(exc)
            finally:
                listener.close()
                ready.set()

        self._thread = threading.Thread(target=run, name="sandbox-catalog", daemon=True)
        self._thread.start()
        ready.wait()
        if failure:
            self._thread.join()
            self._thread = None
            raise failure[0]

    def stop(self) -> None:
        """Ends what hangs, finishes what runs, closes the store. Does nothing if it does not run."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stop)
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def set_faults(self, **faults: Any) -> None:
        """As `POST /sandbox/faults`; raises ValueError for what it does not know."""
        asyncio.run_coroutine_threadsafe(self._set_faults(faults), self._loop).result()

    def clear_faults(self) -> None:
        """As `DELETE /sandbox/faults`."""

        async def clear() -> None:
            self._faults.clear()

        asyncio.run_coroutine_threadsafe(clear(), self._loop).result()

    def status(self) -> dict[str, Any]:
        """As `GET /sandbox/status`."""

        async def figures() -> dict[str, Any]:
            return self._handlers.figures()

        return asyncio.run_coroutine_threadsafe(figures(), self._loop).result()

    def deleted(self, data_source: str | None = None, item_id: str | None = None) -> list[dict[str, Any]]:
        """As `GET /sandbox/deletes`: what became of each delete, oldest first."""

        async def shown() -> list[dict[str, Any]]:
            return self._handlers.deleted(data_source, item_id)

        return asyncio.run_coroutine_threadsafe(shown(), self._loop).result()

    # ------------------------------------------------------------------------------- in the server's thread

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        store = Store(self.directory, replace=self.replace)
        try:
            self._handlers = Handlers(store, self._faults, self._counters, self._answers, self._limits, down=self._down)
            self._gate = Gate(self._handlers.app(), token=self.token, faults=self._faults, counters=self._counters)
            config = uvicorn.Config(
                self._gate,
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            )
            self._server = uvicorn.Server(config)
            self._back: asyncio.Task[None] | None = None
            started = asyncio.create_task(self._announce(ready))
            await self._server.serve(sockets=[listener])
            await started
        finally:
            if self._back is not None:
                self._back.cancel()
            store.close()

    async def _announce(self, ready: threading.Event) -> None:
        while not self._server.started:
            await asyncio.sleep(0)
        ready.set()

    def _stop(self) -> None:
        self._gate.stop()
        self._server.should_exit = True

    async def _set_faults(self, faults: Mapping[str, Any]) -> None:
        down_s = self._faults.set(dict(faults))
        if down_s:
            await self._down(down_s)

    async def _down(self, seconds: float) -> None:
        """Refuses connections from now on; all that are open break off."""
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        if self._back is not None:
            self._back.cancel()
        # Bound but not listening: connections are refused, and nobody else takes the port meanwhile.
        self._back = asyncio.create_task(self._come_back(self._bound(), seconds))

    async def _come_back(self, listener: socket.socket, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            server = await self._loop.create_server(
                lambda: _Connection(self._server.config, self._server.server_state, {}),
                sock=listener,
                backlog=_BACKLOG,
            )
            self._server.servers = [server]
        except asyncio.CancelledError:
            listener.close()
            raise

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # asyncio turns Nagle's algorithm off only where the protocol is named; with it every answer takes 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError as exc:
            listener.close()
            raise OSError(exc.errno, f"cannot listen on {self.host}:{self.port}: {exc.strerror}") from exc
        return listener
