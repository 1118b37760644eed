"""Traces, by the API of OpenTelemetry: what was done inside of what, under ids that others know (W3C Trace Context).

A span costs a look at a variable unless it is recorded, which `app.otel` sets up. Without that the trace of a caller
goes through all the same: from his call to the row of its job, and from there to the catalog.

Attributes are ids, names, counts and reasons. Never SQL, a row, the words of an error or who calls: whoever may read
traces may not read these.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import Token
from itertools import count
from types import TracebackType
from typing import TypeAlias

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from blade_server.model.error_reason import Reason

Attributes: TypeAlias = Mapping[str, str | int]
Entered: TypeAlias = AbstractContextManager[Span]

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
FIRST, EACH = 100, 100
"""See `Often`."""

_tracer = trace.get_tracer("blade_server")
_w3c = TraceContextTextMapPropagator()
_NOTHING = nullcontext(INVALID_SPAN)

# They write what strangers send into the log.
for _name in ("opentelemetry.trace.span", "opentelemetry.trace.propagation.tracecontext"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def called(name: str, headers: Mapping[str, str]) -> Entered:
    """A call of this server, inside of the caller's span if `headers` has a good `traceparent`.

    It says itself whether it failed: what the caller did wrong is no failure of the server.
    """
    outside = _w3c.extract(headers) if TRACEPARENT in headers else Context()
    return _Inside(_tracer.start_span(name, outside, SpanKind.SERVER), judges=False)


def continued(name: str, traceparent: str, attributes: Attributes) -> Entered:
    """What was stored by one process to be done by another: in the same trace, and linked to the span that stored it.

    `traceparent`: of that span; empty, the trace begins here.
    """
    outside = _w3c.extract({TRACEPARENT: traceparent}) if traceparent else Context()
    stored = trace.get_current_span(outside).get_span_context()
    links = [Link(stored)] if stored.is_valid else []
    return _Inside(_tracer.start_span(name, outside, SpanKind.CONSUMER, _some(attributes), links))


def span(name: str, attributes: Attributes, *, outward: bool = False) -> Entered:
    """A part of what this thread or task does; nothing where that is not recorded.

    `outward`: another service is asked.
    """
    if not trace.get_current_span().is_recording():
        return _NOTHING
    kind = SpanKind.CLIENT if outward else SpanKind.INTERNAL
    return _Inside(_tracer.start_span(name, None, kind, _some(attributes)))


class Often:
    """Spans of what is done again and again: of the first `FIRST` and then of each `EACH`th. Thread-safe."""

    def __init__(self, name: str, *, outward: bool = False) -> None:
        self._name = name
        self._outward = outward
        self._number = count()

    def __call__(self, attributes: Attributes) -> Entered:
        """As `span`; what has none of its own belongs to the one around it."""
        if not trace.get_current_span().is_recording():
            return _NOTHING
        number = next(self._number)
        if number >= FIRST and number % EACH:
            return _NOTHING
        return span(self._name, attributes, outward=self._outward)


def note(attributes: Attributes, *, failed: bool = False) -> None:
    """Says more of the span that this thread or task is in."""
    current = trace.get_current_span()
    current.set_attributes(_some(attributes))
    if failed:
        current.set_status(StatusCode.ERROR)


def headers() -> dict[str, str]:
    """What tells another service in which span it is called: `traceparent`, perhaps `tracestate`; empty outside."""
    found: dict[str, str] = {}
    _w3c.inject(found)
    return found


def ids() -> tuple[str, str]:
    """Of the trace and the span that this thread or task is in, hex; both empty outside of any."""
    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return "", ""
    return trace.format_trace_id(current.trace_id), trace.format_span_id(current.span_id)


def _some(attributes: Attributes) -> dict[str, str | int]:
    return {name: value for name, value in attributes.items() if value != ""}


class _Inside:
    """A span that this thread or task is in. An error that leaves it is told by its kind, without its words."""

    def __init__(self, span: Span, *, judges: bool = True) -> None:
        self._span = span
        self._judges = judges
        self._before: Token[Context] | None = None

    def __enter__(self) -> Span:
        self._before = context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        assert self._before is not None
        context.detach(self._before)
        if self._judges and isinstance(error, Exception) and self._span.is_recording():
            reason = getattr(error, "reason", None)
            self._span.set_attribute("error.type", reason.value if isinstance(reason, Reason) else type(error).__name__)
            if getattr(error, "is_failure", True):
                self._span.set_status(StatusCode.ERROR)
        self._span.end()
