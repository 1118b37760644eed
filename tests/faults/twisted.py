"""A catalog behind a gateway that twists what is asked and answered: faults for which the catalog has no switch."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import orjson
import requests

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it arrived; `pass_on` sends it to the catalog, as often as it is called."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    pass_on: Callable[[], Answered]

    @property
    def uploads(self) -> bool:
        return self.method == "POST" and not self.path.endswith("lookup")

    @property
    def batch(self) -> bool:
        return self.path.endswith("items:batch")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answer. `cut`: so many bytes of the body come, then the connection breaks off; `trickles_s` between bytes."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    chunked: bool = False
    trickles_s: float = 0.0
    reset: bool = False

    def json(self) -> Any:
        return orjson.loads(self.body)


Twist = Callable[[Asked], Answered]


def straight(asked: Asked) -> Answered:
    """Twists nothing."""
    return asked.pass_on()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, catalog: TwistedCatalog) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.catalog = catalog

    def handle_error(self, *_: object) -> None:
        return  # servers under test are killed in the middle of a request


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        method, path = self.command, self.path  # the next request on the connection has others

        def pass_on() -> Answered:
            url = self.server.catalog.catalog_url + path
            answer = requests.request(method, url, data=body, headers=headers, timeout=30)
            return Answered(status=answer.status_code, body=answer.content)

        asked = Asked(method=method, path=path, headers=headers, body=body, pass_on=pass_on)
        self._answer(self.server.catalog.twist(asked))

    def _answer(self, answer: Answered) -> None:
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self._write(answer)
        self.close_connection = self.close_connection or answer.cut is not None

    def _write(self, answer: Answered) -> None:
        body = answer.body if answer.cut is None else answer.body[: answer.cut]
        if answer.chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) + (b"0\r\n\r\n" if answer.cut is None else b"")
        if answer.trickles_s:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.server.catalog.closing.wait(answer.trickles_s):
                    break
        else:
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = _serve

    def log_message(self, *_: object) -> None:
        return


class TwistedCatalog:
    """Stands before the catalog. `twist` may be changed at any time; `struck` counts what it changed on the way."""

    def __init__(self, catalog_url: str, twist: Twist = straight) -> None:
        self.catalog_url = catalog_url
        self.twist = twist
        self.struck = 0
        self.closing = threading.Event()
        self._late: list[threading.Timer] = []
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def strikes(
        self, times: int, twist: Twist, *, which: Callable[[Asked], bool] = lambda asked: asked.uploads
    ) -> None:
        """From now on twists the next `times` requests of this kind, uploads by default, and then no more."""
        lock = threading.Lock()
        left = times

        def limited(asked: Asked) -> Answered:
            nonlocal left
            with lock:
                strike = left > 0 and which(asked)
                left -= strike
                self.struck += strike
            return twist(asked) if strike else asked.pass_on()

        self.twist = limited

    def gives_up(self, times: int, after_s: float, stores_after_s: float, status: int | None = None) -> None:
        """Answers the next uploads, or closes their connections, before the catalog stores them all the same."""

        def twist(asked: Asked) -> Answered:
            self._late.append(threading.Timer(stores_after_s, asked.pass_on))
            self._late[-1].start()
            time.sleep(after_s)
            return Answered(reset=True) if status is None else Answered(status=status, body=b"upstream timed out")

        self.strikes(times, twist)

    def wait_late(self) -> None:
        """Returns once the catalog has stored what was given up."""
        for late in self._late:
            late.join()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="twisted", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
