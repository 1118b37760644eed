"""One line of log for a call: its method, how it ended, how long it took and who called; nothing of the request."""

from __future__ import annotations

import logging
import time

from blade_server import logs
from blade_server.rpc.around.call import Call
from blade_server.rpc.around.outcome import OK, outcome_of
from blade_server.rpc.caller import Context, Lines

log = logging.getLogger(__name__)

STREAMS_PER_S = 20


class Sampling:
    """Of streams, which may end by thousands at one moment: so many lines a second, and how many calls had none.

    Belongs to one event loop.
    """

    def __init__(self, per_s: int = STREAMS_PER_S) -> None:
        self._per_s = per_s
        self._second, self._written, self._left_out = 0, 0, 0

    def left_out(self) -> int | None:
        """Whether this one is written: then how many were not since the last one; None, it is not."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= self._per_s:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


def with_log(method: str, inner: Call, lines: Lines, sampling: Sampling | None = None) -> Call:
    """Writes the line when `inner` has ended, however."""

    async def call(raw: bytes, context: Context) -> bytes | None:
        started_s = time.perf_counter()
        outcome = OK
        with logs.about():
            try:
                return await inner(raw, context)
            except BaseException as exc:
                outcome = outcome_of(exc, context)
                raise
            finally:
                left_out = sampling.left_out() if sampling else 0
                if left_out is not None and log.isEnabledFor(logging.INFO):  # the address costs more than the rest
                    took_ms = (time.perf_counter() - started_s) * 1000
                    address = lines.peer(context)
                    fields = {
                        "event": "call",
                        "method": method,
                        "code": outcome.code,
                        **({"reason": outcome.reason} if outcome.reason else {}),
                        "duration_ms": round(took_ms, 3),
                        "address": address,
                        **({"left_out": left_out} if left_out else {}),
                    }
                    who = f" {logs.known('principal')}" if logs.known("principal") else ""
                    more = f" ({left_out} more not logged)" if left_out else ""
                    words = (method, outcome, took_ms, address, who, more)
                    log.info("%s %s %.1f ms %s%s%s", *words, extra={"fields": fields})

    return call
