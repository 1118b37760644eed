"""The three ways a stream of messages is written: a JSON array, NDJSON, server-sent events.

In all three an error in mid-stream is the last thing written, as `{"error": {...}}`: the HTTP code has long been sent.
"""

from __future__ import annotations

from typing import Any

import orjson

from blade_server.web.transcoder.problem import Problem

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

    def end(self) -> bytes:
        """The bracket, or an empty array."""
        return b"]\n" if self._opened else b"[]\n"

    def failure(self, problem: Problem) -> bytes:
        """The error as the last element, so that the document stays JSON."""
        return self.message(problem.document()) + self.end()


class Lines:
    """NDJSON: one message a line."""

    content_type = "application/x-ndjson"

    def message(self, content: Any, event_id: str) -> bytes:
        """A line."""
        return orjson.dumps(content) + b"\n"

    def end(self) -> bytes:
        """Nothing: the last line was the last."""
        return b""

    def failure(self, problem: Problem) -> bytes:
        """A line."""
        return orjson.dumps(problem.document()) + b"\n"


class Events:
    """Server-sent events: messages, then `end`; or `failure`."""

    content_type = "text/event-stream"

    def message(self, content: Any, event_id: str) -> bytes:
        """An event; its id, if it has one, is what a browser sends back as Last-Event-ID."""
        return (f"id: {event_id}\n".encode() if event_id else b"") + b"data: " + orjson.dumps(content) + b"\n\n"

    def end(self) -> bytes:
        """An event `end`."""
        return f"id: {LAST_EVENT_ID}\nevent: end\ndata: {{}}\n\n".encode()

    def failure(self, problem: Problem) -> bytes:
        """An event `failure`; not `error`, which browsers use for lost connections."""
        return b"event: failure\ndata: " + orjson.dumps(problem.document()) + b"\n\n"


Form = Array | Lines | Events
"""One object a stream: it knows what it wrote before. `failure` ends it early."""

FORMS: tuple[type[Form], ...] = (Array, Lines, Events)
"""In the order of preference among equals."""


def chosen(accept: str, forms: tuple[type[Form], ...] = FORMS) -> Form:
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
