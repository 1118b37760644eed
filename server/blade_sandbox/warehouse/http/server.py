"""The warehouse as one object: data, service and HTTP server, started and stopped together."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio.to_thread
import pyarrow as pa
import uvicorn

from blade_sandbox.warehouse.fault_switches import FaultSwitches
from blade_sandbox.warehouse.http.connections import Connections, tracking
from blade_sandbox.warehouse.http.handlers import Handlers
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.thrift.service import Service

HANDLER_THREADS = 256


@dataclass(kw_only=True, eq=False)
class Warehouse:
    """A Databricks SQL warehouse on this machine; nothing is opened before ``start``.

    >>> with Warehouse(tables={"main.blade.sortie": Path("sortie.parquet")}) as warehouse:
    ...     warehouse.url, warehouse.http_path

    Args:
        host: address to listen on.
        port: 0 picks a free one; it stays the same over later starts.
        token: what clients send as access token.
        tables: ``catalog.schema.table`` -> Parquet, CSV, JSON or NDJSON file.
        warehouse_id: last part of ``http_path``.
        database: DuckDB file that keeps the data; None: gone at ``stop``.
        tls_cert: PEM certificate; with it the server speaks https only.
        tls_key: PEM key of the certificate.
        idle_timeout_s: sessions nobody used for so long end, with their results.

    Attributes:
        faults: the fault switches.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = field(default="sandbox-token", repr=False)
    tables: Mapping[str, Path] = field(default_factory=dict)
    warehouse_id: str = "sandbox"
    database: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    idle_timeout_s: float = 3600
    faults: FaultSwitches = field(init=False, repr=False, default_factory=FaultSwitches)
    _connections: Connections = field(init=False, repr=False, default_factory=Connections)
    _lakehouse: Lakehouse | None = field(init=False, repr=False, default=None)
    _service: Service | None = field(init=False, repr=False, default=None)
    _server: uvicorn.Server | None = field(init=False, repr=False, default=None)
    _thread: threading.Thread | None = field(init=False, repr=False, default=None)

    @property
    def url(self) -> str:
        """``http://HOST:PORT``, or https with TLS."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"

    @property
    def http_path(self) -> str:
        """The path of the warehouse on that server."""
        return f"/sql/1.0/warehouses/{self.warehouse_id}"

    def connect_options(self) -> dict[str, Any]:
        """The arguments of ``databricks.sql.connect`` for this warehouse, to be used as ``connect(**options)``."""
        options = {"http_path": self.http_path, "access_token": self.token, "enable_telemetry": False}
        if self.tls_cert is not None:
            return {
                **options,
                "server_hostname": self.host,
                "_port": self.port,
                "_tls_trusted_ca_file": str(self.tls_cert),
            }
        return {**options, "server_hostname": self.url, "_connection_uri": self.url + self.http_path}

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement without a client, in a session of its own, and return its rows.

        Raises:
            SqlError: the statement failed.
        """
        return self._serving().run(statement)

    def load(self, name: str, data: pa.Table | Path) -> None:
        """Make a table of an Arrow table or a file, replacing what was there; clients see it at once.

        Args:
            name: ``catalog.schema.table``; catalog and schema come with it.
            data: the content; a file may be Parquet, CSV, JSON or NDJSON, the text ones also packed.

        Raises:
            ValueError: the name has not three parts, or the file is missing or of an unknown kind.
        """
        self._serving()
        assert self._lakehouse is not None
        self._lakehouse.load(TableName.parse(name), data)

    def set_faults(self, **switches: Any) -> None:
        """Turn fault switches on, as ``POST /sandbox/faults`` does, but for ``kill``.

        Raises:
            ValueError: an unknown switch or value.
        """
        if switches.get("kill"):
            raise ValueError("kill works over HTTP only (POST /sandbox/faults); stop() ends the warehouse from inside")
        self.faults.set(switches)
        if switches.get("expire_sessions"):
            self._serving().expire(0)

    def _serving(self) -> Service:
        if self._service is None:
            raise RuntimeError("the warehouse is not started")
        return self._service

    def start(self) -> None:
        """Read the tables and serve in a background thread; returns once connections are taken.

        After ``stop`` or the fault ``kill`` it can be started again, on the same port, with no sessions.

        Raises:
            OSError: the port is taken.
            ValueError: a table name or file is wrong.
        """
        if self._thread is not None:
            self._end_serving()
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        try:
            if self._lakehouse is None:
                self._lakehouse = Lakehouse(database=self.database, tables=self.tables)
        except BaseException:
            listener.close()
            raise
        self._service = Service(self._lakehouse, self.faults)
        handlers = Handlers(
            service=self._service,
            volumes=self._lakehouse.volumes,
            faults=self.faults,
            connections=self._connections,
            token=self.token,
            warehouse_id=self.warehouse_id,
            kill=self._kill,
        )
        self._server = uvicorn.Server(self._config(handlers))
        self._thread = threading.Thread(target=self._serve, args=(listener,), name="warehouse", daemon=True)
        started = threading.Event()
        self._started = started
        self._thread.start()
        started.wait()
        if not self._server.started:
            self._end_serving()
            raise OSError(f"the warehouse could not serve on {self.url}")

    def stop(self) -> None:
        """Close all sessions, the server and the data; does nothing if not started."""
        self._end_serving()
        if self._lakehouse is not None:
            self._lakehouse.close()
            self._lakehouse = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end_serving(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._service is not None:
            self._service.close()
            self._service = None

    def _config(self, handlers: Handlers) -> uvicorn.Config:
        return uvicorn.Config(
            handlers.app(),
            http=tracking(self._connections),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=600,
            timeout_graceful_shutdown=1,
            ssl_certfile=str(self.tls_cert) if self.tls_cert else None,
            ssl_keyfile=str(self.tls_key) if self.tls_key else None,
        )

    def _serve(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._listening(listener))
        finally:
            self._started.set()

    async def _listening(self, listener: socket.socket) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = HANDLER_THREADS
        assert self._server is not None
        reaper = asyncio.create_task(self._reap())
        announcer = asyncio.create_task(self._announce())
        try:
            await self._server.serve(sockets=[listener])
        finally:
            reaper.cancel()
            announcer.cancel()
            self._connections.cut_all()

    async def _announce(self) -> None:
        while self._server is not None and not self._server.started:
            await asyncio.sleep(0.005)
        self._started.set()

    async def _reap(self) -> None:
        while self._service is not None:
            await asyncio.sleep(min(1.0, self.idle_timeout_s / 4))
            await anyio.to_thread.run_sync(self._service.expire, self.idle_timeout_s)

    async def _kill(self) -> None:
        """Stop listening and cut every connection at once, from the event loop."""
        assert self._server is not None
        self._server.should_exit = True
        self._server.force_exit = True
        for listening in self._server.servers:
            listening.close()
        self._connections.cut_all()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off (40 ms a reply) only on sockets that say TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener
