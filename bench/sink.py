"""A catalog that keeps nothing: the sink of every upload figure, the same for BLADE and its peers.

It reads a request as quickly as Python can (no form is parsed; the item ids are found by one search in C), answers as
the catalog's contract says and counts; a look-up finds nothing. `GET /count` tells the items so far. It ends with its
standard input.

    python bench/sink.py [--single] [--latency-ms 20]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from typing import cast

ITEM_ID = re.compile(rb'\{"itemId": ?("[^"]*")')
LENGTH = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE)
ANSWER = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class Sink(asyncio.Protocol):
    """One connection."""

    items = 0
    single = False
    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parts: list[bytes] = []
        self._missing = 0

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        request = b"".join(self._parts)
        head_ends = request.find(b"\r\n\r\n")
        if head_ends < 0:
            self._parts = [request]
            return
        head = request[:head_ends]
        length = LENGTH.search(head)
        size = head_ends + 4 + (int(length[1]) if length else 0)
        if len(request) < size:
            self._parts, self._missing = [request], size - len(request)
            return
        self._parts, self._missing = [], 0
        status, body = self._answer(head, request)
        answer = ANSWER % (status, len(body), body)
        if head.startswith(b"POST") and self.latency_s:
            asyncio.get_running_loop().call_later(self.latency_s, self._transport.write, answer)
        else:
            self._transport.write(answer)

    def _answer(self, head: bytes, request: bytes) -> tuple[int, bytes]:
        if head.startswith(b"POST /v1/items:lookup"):
            return 200, b'{"found":[]}'
        if head.startswith(b"POST /v1/items"):
            ids = ITEM_ID.findall(request)
            Sink.items += len(ids)
            if head.startswith(b"POST /v1/items:batch"):
                result = b'{"itemId":%b,"status":201,"outcome":"CREATED"}'
                return 200, b'{"results":[' + b",".join([result % item_id for item_id in ids]) + b"]}"
            return 201, b'{"itemId":%b,"outcome":"CREATED"}' % ids[0]
        if head.startswith(b"GET /v1/capabilities") and not self.single:
            return 200, b'{"maxBatchItems":1000,"maxRequestBytes":33554432,"lookup":true}'
        if head.startswith(b"GET /count"):
            return 200, b"%d" % Sink.items
        return 404, b"{}"


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--single", action="store_true", help="takes one item a request")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="time from the end of an upload to its answer")
    given = parser.parse_args()
    Sink.single, Sink.latency_s = given.single, given.latency_ms / 1000
    asyncio.run(serve())


if __name__ == "__main__":
    main()
