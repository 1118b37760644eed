"""Reads the bodies of requests within their bounds."""

from __future__ import annotations

from starlette.requests import Request

from blade_sandbox.catalog.refused import Refused

_BODIES_AT_ONCE = 8
"""So many of the largest bodies are held in memory together."""


class BodyReader:
    """Bodies of at most `max_bytes`, and not too many of them at once."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffered = 0

    async def read(self, request: Request) -> bytes:
        """All of it; raises Refused as soon as it is too much."""
        announced = request.headers.get("content-length", "0")
        if int(announced) > self._max_bytes:
            raise Refused(413, f"{announced} bytes; a request has at most {self._max_bytes}")
        chunks, size = [], 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self._buffered += len(chunk)
                if size > self._max_bytes:
                    raise Refused(413, f"more than {self._max_bytes} bytes; a request has at most that")
                if self._buffered > self._max_bytes * _BODIES_AT_ONCE:
                    raise Refused(503, "too many large requests at once", {"Retry-After": "1"})
                chunks.append(chunk)
        finally:
            self._buffered -= size
        return b"".join(chunks)
