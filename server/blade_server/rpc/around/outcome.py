"""How a call ended, for whoever tells of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc

from blade_server.errors import BladeError
from blade_server.rpc.caller import Context
from blade_server.rpc.status import code_of


@dataclass(frozen=True)
class Outcome:
    """`code` by its name, `NOT_FOUND`; `reason` of an error, as callers get it."""

    code: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.reason}" if self.reason else self.code


OK = Outcome("OK")


def outcome_of(error: BaseException, context: Context) -> Outcome:
    """Of a call that ended with this error."""
    if isinstance(error, asyncio.CancelledError):
        over = context.time_remaining() == 0
        return Outcome((grpc.StatusCode.DEADLINE_EXCEEDED if over else grpc.StatusCode.CANCELLED).name)
    code = code_of(error)
    if code is None or not isinstance(error, BladeError):
        return Outcome("INTERNAL", "INTERNAL")
    return Outcome(code.name, error.reason)
