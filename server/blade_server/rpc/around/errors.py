"""The errors of a call as the statuses that its caller gets; see the table in `rpc.status`."""

from __future__ import annotations

import logging

from blade_server.rpc.around.call import Call
from blade_server.rpc.caller import Context
from blade_server.rpc.status import DETAILS_KEY, Failure

log = logging.getLogger(__name__)


def with_statuses(method: str, inner: Call) -> Call:
    """Ends the call with the status of what `inner` raises; a bug goes to the log, under the incident it is told by."""

    async def call(raw: bytes, context: Context) -> bytes | None:
        try:
            return await inner(raw, context)
        except Exception as exc:
            failure = Failure(exc)
            if failure.incident:
                log.exception("incident %s in %s", failure.incident, method)
        return await context.abort(failure.code, failure.message, ((DETAILS_KEY, failure.details),))

    return call
