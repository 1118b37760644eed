"""What is measured of a call: how long it took, how it ended, and how many are open."""

from __future__ import annotations

import asyncio
import time

from blade_server.metrics.families import ACTIVE_CALLS, CALLS
from blade_server.rpc.around.call import Call
from blade_server.rpc.caller import Context
from blade_server.rpc.status import code_of


def with_meter(method: str, inner: Call) -> Call:
    """Records it when `inner` has ended, however."""
    active = ACTIVE_CALLS.labels(method)

    async def call(raw: bytes, context: Context) -> bytes | None:
        began_s, code = time.perf_counter(), "OK"
        active.inc()
        try:
            return await inner(raw, context)
        except asyncio.CancelledError:
            code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
            raise
        except Exception as exc:
            known = code_of(exc)
            code = "INTERNAL" if known is None else known.name
            raise
        finally:
            active.dec()
            CALLS.labels(method, code).observe(time.perf_counter() - began_s)

    return call
