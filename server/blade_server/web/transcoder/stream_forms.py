"""The ways a stream of messages is written: a JSON array or object, NDJSON, server-sent events.

In all of them an error in mid-stream is the last thing written, as `{"error": {...}}` or as the last member of the
object: the HTTP code has long been sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import orjson

from blade_server.web.transcoder.problem import HTTP_CODES, Problem

_KEPT_BYTES = 1 << 20
_PART_BYTES = 64 << 10
MAX_KEPT_BYTES = 64 << 20
"""The most that one answer keeps on disk for its end."""
LAST_EVENT_ID = "end"
"""Id of the event that closes a complete stream. A browser that reconnects with it is told to stop (204)."""


class Array:
    """`[message, message]`."""

    content_type = "application/json"

    def __init__(self) -> None:
        self._opened = False

    def message(self, content: Any, event_id: str = "") -> bytes:
        """The message with what goes before it."""
        before = b"," if self._opened else b"["
        self._opened = True
        return before + orjson.dumps(content)

    def end(self) -> Iterator[bytes]:
        """The bracket, or an empty array."""
        yield b"]\n" if self._opened else b"[]\n"

    def failure(self, problem: Problem) -> Iterator[bytes]:
        """The error as the last element, so that the document stays JSON."""
        yield self.message(problem.document())
        yield from self.end()


class Joined:
    """`{"items": [...], "rejections": [...], ...}`: the lists of all messages joined, and the rest as in the last one.

    The first list goes out as it comes. The others wait for its end, in files once they are long, and at most
    MAX_KEPT_BYTES of them.
    """

    content_type = "application/json"

    def __init__(self, empty: dict[str, Any]) -> None:
        """`empty` is a message without anything in it."""
        self._first, *others = [name for name, value in empty.items() if isinstance(value, list)]
        self._rest = {name: value for name, value in empty.items() if not isinstance(value, list)}
        self._kept = {name: tempfile.SpooledTemporaryFile(_KEPT_BYTES) for name in others}  # noqa: SIM115 - until the end
        self._kept_bytes = 0
        self._opening = b'{"' + self._first.encode() + b'":['
        self._between = self._opening

    def message(self, content: Any, event_id: str = "") -> bytes:
        """What of the message can go out. Raises Problem RESOURCE_EXHAUSTED if more than that would have to wait."""
        for name, file in self._kept.items():
            for one in content[name]:
                kept = (b"," if file.tell() else b"") + orjson.dumps(one)
                self._kept_bytes += len(kept)
                if self._kept_bytes > MAX_KEPT_BYTES:
                    raise _too_many_rejected()
                file.write(kept)
        self._rest |= {name: value for name, value in content.items() if not isinstance(value, list)}
        written = b",".join(orjson.dumps(one) for one in content[self._first])
        if not written:
            return b""
        before, self._between = self._between, b","
        return before + written

    def end(self) -> Iterator[bytes]:
        """The other lists, in parts, and what is no list."""
        yield (self._opening if self._between == self._opening else b"") + b"]"
        for name, file in self._kept.items():
            file.seek(0)
            yield b',"' + name.encode() + b'":['
            while part := file.read(_PART_BYTES):
                yield part
            yield b"]"
        yield b"," * bool(self._rest) + orjson.dumps(self._rest)[1:] + b"\n"

    def close(self) -> None:
        """Lets the files go, also of a stream that was left."""
        for file in self._kept.values():
            file.close()

    def failure(self, problem: Problem) -> Iterator[bytes]:
        """The error as a member, so that the document stays JSON."""
        self._rest |= problem.document()
        return self.end()


class Lines:
    """NDJSON: one message a line."""

    content_type = "application/x-ndjson"

    def message(self, content: Any, event_id: str) -> bytes:
        """A line."""
        return orjson.dumps(content) + b"\n"

    def end(self) -> Iterator[bytes]:
        """Nothing: the last line was the last."""
        yield from ()

    def failure(self, problem: Problem) -> Iterator[bytes]:
        """A line."""
        yield orjson.dumps(problem.document()) + b"\n"


class Events:
    """Server-sent events: messages, then `end`; or `failure`."""

    content_type = "text/event-stream"

    def message(self, content: Any, event_id: str) -> bytes:
        """An event; its id, if it has one, is what a browser sends back as Last-Event-ID."""
        return (f"id: {event_id}\n".encode() if event_id else b"") + b"data: " + orjson.dumps(content) + b"\n\n"

    def end(self) -> Iterator[bytes]:
        """An event `end`."""
        yield f"id: {LAST_EVENT_ID}\nevent: end\ndata: {{}}\n\n".encode()

    def failure(self, problem: Problem) -> Iterator[bytes]:
        """An event `failure`; not `error`, which browsers use for lost connections."""
        yield b"event: failure\ndata: " + orjson.dumps(problem.document()) + b"\n\n"


def _too_many_rejected() -> Problem:
    message = f"more than {MAX_KEPT_BYTES >> 20} MiB of rejected rows; ask for {Lines.content_type}, or for fewer rows"
    return Problem(HTTP_CODES["RESOURCE_EXHAUSTED"], "RESOURCE_EXHAUSTED", message)


Form = Array | Joined | Lines | Events
"""One object a stream: it knows what it wrote before. `failure` ends it early."""

FORMS: tuple[type[Array | Lines | Events], ...] = (Array, Lines, Events)
"""In the order of preference among equals."""


def chosen(accept: str, forms: tuple[type[Array | Lines | Events], ...] = FORMS) -> Form:
    """The form that the Accept header likes best; an empty header accepts anything.

    Raises Problem 406 naming what there is.
    """
    liked = [(_quality(accept or "*/*", form.content_type), -index) for index, form in enumerate(forms)]
    quality, index = max(liked)
    if quality <= 0:
        names = ", ".join(form.content_type for form in forms)
        raise Problem(406, "INVALID_ARGUMENT", f"accept: {accept[:100]!r} has none of {names}")
    return forms[-index]()


def _quality(accept: str, content_type: str) -> float:
    """The q of the most specific range that covers the type, 0 if none does."""
    best = (0, 0.0)
    for part in accept.split(","):
        name, *params = (piece.strip().lower() for piece in part.split(";"))
        ranges = ("*/*", content_type.partition("/")[0] + "/*", content_type)
        if name in ranges:
            best = max(best, (ranges.index(name) + 1, _q(params)))
    return best[1]


def _q(params: list[str]) -> float:
    for param in params:
        key, _, value = param.partition("=")
        if key.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
