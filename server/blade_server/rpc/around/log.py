"""One line of log for a call: its method, how it ended, how long it took and who called; nothing of the request."""

from __future__ import annotations

import asyncio
import logging
import time

from blade_server.errors import BladeError
from blade_server.rpc.around.call import Call
from blade_server.rpc.caller import Context, Lines
from blade_server.rpc.status import code_of

log = logging.getLogger(__name__)


def with_log(method: str, inner: Call, lines: Lines) -> Call:
    """Writes the line when `inner` has ended, however."""

    async def call(raw: bytes, context: Context) -> bytes | None:
        started_s = time.perf_counter()
        outcome = "OK"
        try:
            return await inner(raw, context)
        except asyncio.CancelledError:
            outcome = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
            raise
        except Exception as exc:
            outcome = _outcome(exc)
            raise
        finally:
            if log.isEnabledFor(logging.INFO):  # the address costs more than the rest of the line
                took_ms = (time.perf_counter() - started_s) * 1000
                log.info("%s %s %.1f ms %s", method, outcome, took_ms, lines.peer(context))

    return call


def _outcome(error: Exception) -> str:
    code = code_of(error)
    return f"{code.name} {error.reason}" if code is not None and isinstance(error, BladeError) else "INTERNAL INTERNAL"
