"""A span around each call, inside of the caller's where he says which that is (`traceparent`)."""

from __future__ import annotations

from blade_server import tracing
from blade_server.rpc.around.call import Call
from blade_server.rpc.around.outcome import OK, outcome_of
from blade_server.rpc.caller import Context, Lines

_OUR_FAULT = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""What OpenTelemetry's conventions call a failure of the server; all else is the caller's."""


def with_span(method: str, inner: Call, lines: Lines) -> Call:
    """Whatever `inner` does and logs is inside of the span."""

    async def call(raw: bytes, context: Context) -> bytes | None:
        with tracing.called(method, lines.trace(context)) as span:
            if not span.is_recording():
                return await inner(raw, context)
            outcome = OK
            try:
                return await inner(raw, context)
            except BaseException as exc:
                outcome = outcome_of(exc, context)
                raise
            finally:
                about = {
                    "rpc.system.name": "grpc",
                    "rpc.method": method,
                    "rpc.response.status_code": outcome.code,
                    "error.type": "" if outcome is OK else outcome.reason or outcome.code,
                }
                tracing.note(about, failed=outcome.code in _OUR_FAULT)

    return call
