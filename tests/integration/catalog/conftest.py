"""The real sandbox catalog, and a server that answers with whatever bytes a test gives it."""

from __future__ import annotations

import queue
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

from blade_sandbox.catalog import CatalogServer
from blade_server.arrow.items import Items
from blade_server.catalog import Catalog, encode
from blade_server.model import Item

METADATA = {"source": "maintenance", "job": "job-1"}
CERTIFICATE = Path(__file__).with_name("loopback.pem")


class Uploaded(NamedTuple):
    """What became of one item."""

    item_id: str
    replaced: bool
    rejection: str | None
    bytes: int
    retry: bool


class OneByOne(Catalog):
    """The catalog with plain lists of items, and of what became of each."""

    def upload(self, data_source: str, items: Sequence[Item], **options: Any) -> list[Uploaded]:
        encoded = encode(data_source, Items.of(items))
        done = super().upload(encoded, **options)
        found = []
        for at, item in enumerate(items):
            reason, retry = done.refused.get(at, (None, False))
            size = encoded.cut(at, at + 1).size_bytes
            found.append(Uploaded(item.item_id, at in done.replaced, reason, size, retry))
        return found

    def stored(self, data_source: str, items: Sequence[Item]) -> set[str]:
        return super().stored(data_source, Items.of(items))


@pytest.fixture
def make_item() -> Callable[..., Item]:
    """An item of `maintenance`."""

    def make(item_id: str, **fields: Any) -> Item:
        given = {
            "data_type": "maintenance",
            "data_json": b'{"tail":"AF-001","n":1}',
            "classification": "UNCLASS",
            "last_modified": "2024-01-10T10:00:00Z",
            "metadata": METADATA,
        }
        return Item(item_id=item_id, **given | fields)

    return make


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack: ExitStack, tmp_path: Path) -> Callable[..., CatalogServer]:
    """Starts a sandbox catalog."""

    def start(**options: Any) -> CatalogServer:
        return stack.enter_context(CatalogServer(**{"directory": tmp_path / "catalog"} | options))

    return start


@pytest.fixture
def connect(stack: ExitStack) -> Callable[..., Catalog]:
    """A client of the catalog at a URL."""

    def connect(url: str, token: str | None = None, **options: Any) -> OneByOne:
        secret = None if token is None else SecretStr(token)
        catalog = OneByOne(url, secret, **{"timeout_s": 10.0, "connections": 4} | options)
        stack.callback(catalog.close)
        return catalog

    return connect


@pytest.fixture
def sandbox(start: Callable[..., CatalogServer]) -> CatalogServer:
    return start()


@pytest.fixture
def catalog(connect: Callable[..., Catalog], sandbox: CatalogServer) -> Catalog:
    return connect(sandbox.url)


def reply(status: int, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Scripted:
    """Answers the requests it gets with the given bytes, one after the other; capabilities are always answered.

    An answer may be a function that gets the connection. After False from it, and after the last answer, the connection
    is closed; it is in `closed` when that is done.
    """

    CAPABILITIES = b'{"maxBatchItems": 100, "maxRequestBytes": 1000000, "lookup": true}'

    def __init__(self, answers: Iterable[bytes | Callable[[socket.socket], object]], context: ssl.SSLContext | None):
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.closed: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self._answers = iter(answers)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Scripted:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._open:
            _shut(connection)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                self._open.remove(connection)
                connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                self._open.append(connection)
                connection.do_handshake()
            with connection, connection.makefile("rb") as stream:
                while self._answer(connection, stream):
                    pass
                _shut(connection)
                self.closed.put(connection)
        except OSError:
            connection.close()

    def _answer(self, connection: socket.socket, stream: Any) -> bool:
        head = b""
        while (line := stream.readline()) not in {b"", b"\r\n"}:
            head += line
        if not line:
            return False
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        body = stream.read(int(length[1])) if length else b""
        if head.startswith(b"GET /v1/capabilities"):
            connection.sendall(reply(200, self.CAPABILITIES))
            return True
        self.heads.append(head)
        self.bodies.append(body)
        answer = next(self._answers, None)
        if isinstance(answer, bytes):
            connection.sendall(answer)
            return True
        return bool(answer is not None and answer(connection))


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def scripted(stack: ExitStack) -> Callable[..., Scripted]:
    """Starts a server with the answers given; `tls`: with the certificate of loopback.pem."""

    def start(*answers: bytes | Callable[[socket.socket], object], tls: bool = False) -> Scripted:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
        return stack.enter_context(Scripted(answers, context))

    return start


@pytest.fixture
def certificate() -> Path:
    """Of the scripted server with TLS; its own authority."""
    return CERTIFICATE


@pytest.fixture
def whole_reply() -> Callable[..., bytes]:
    return reply
