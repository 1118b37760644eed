"""One request and its answer over a connection that is open.

An upload of 100 items takes http.client and urllib3 220 us of processor time, much of it for headers in Python. Here
the request is one write and llhttp (httptools) parses the answer: 110 to 130 us (docs/performance.md).
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import httptools
from urllib3.exceptions import DecodeError, ProtocolError

from blade_server.catalog.failures import Answer

_READ_BYTES = 1 << 16


class TooLong(Exception):
    """The answer has more bytes than are read."""


def exchange(connection: socket.socket, request: bytes, *, timeout_s: float, most_bytes: int) -> tuple[Answer, bool]:
    """The answer, whole, and whether the connection can be used again.

    `timeout_s` holds for the request and the answer together: who takes over from a server that was lost counts on it.

    Raises:
        OSError: the connection broke, or TimeoutError.
        ProtocolError, DecodeError: what came is no answer, or is compressed, which nobody asked for.
        TooLong: it has more than `most_bytes`.
    """
    deadline = time.monotonic() + timeout_s
    connection.settimeout(_left(deadline))
    sent = False
    # A server may refuse a request before it has read it all; what it said can be read all the same.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(request)
        sent = True
    reading, size = _Reading(), 0
    while not reading.complete:
        connection.settimeout(_left(deadline))
        data = connection.recv(_READ_BYTES)
        if not data:
            reading.end()
        else:
            reading.feed(data)
        size += len(data)
        if size > most_bytes:
            raise TooLong
    answer, reusable = reading.answer()
    return answer, reusable and sent


def _left(deadline: float) -> float:
    """Seconds, more than none: a socket that is given 0 would not wait at all. Raises TimeoutError."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Reading:
    """What llhttp calls while it reads an answer."""

    def __init__(self) -> None:
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)
        # As http.client reads them: an upload must not fail for what the look-up before it was forgiven.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_chunked_length=True, lenient_optional_cr_before_lf=True
        )
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._status = 0
        self._reusable = False
        self._headers_ended = False

    def feed(self, data: bytes) -> None:
        """More of the answer. Raises ProtocolError."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if not self.complete:  # else it is what comes after the answer that is none
                raise ProtocolError(f"no HTTP answer: {exc!r}") from exc
            self._reusable = False

    def end(self) -> None:
        """The connection has ended. Raises ProtocolError unless that is how the answer ends."""
        unsized = "content-length" not in self._headers and "transfer-encoding" not in self._headers
        if not (self._headers_ended and unsized):
            raise ProtocolError("the connection ended within the answer")
        self.complete = True

    def answer(self) -> tuple[Answer, bool]:
        """The answer and whether the connection can be used again. Raises DecodeError."""
        if self._headers.get("content-encoding", "identity") != "identity":
            raise DecodeError(f"the answer is {self._headers['content-encoding']!r}, which was not asked for")
        return Answer(self._status, self._headers, b"".join(self._body)), self._reusable

    # ------------------------------------------------------------------------------------- called by the parser

    def on_message_begin(self) -> None:
        """Of the answer, or of something that nobody asked for."""
        if self.complete:
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if not self.complete:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The status is known."""
        if not self.complete:
            self._status = self._parser.get_status_code()
            self._headers_ended = self._status >= 200

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if not self.complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Of the answer, or of an interim one (1xx), which is left."""
        if self._status < 200:
            self._headers.clear()
        elif not self.complete:
            self.complete = True
            clear = not {"content-length", "transfer-encoding"} <= self._headers.keys()  # of two ends one is wrong
            self._reusable = clear and self._parser.should_keep_alive()
