"""Who calls, and whether the method is for him: before anything of the request is read."""

from __future__ import annotations

from blade_server.core.access.door import Door
from blade_server.core.access.method import Needs, check_method
from blade_server.core.audit.refusals import Refusals
from blade_server.errors import AccessDenied, Unauthenticated
from blade_server.model.access import Principal
from blade_server.rpc.around.call import Call
from blade_server.rpc.around.pace import Pace
from blade_server.rpc.caller import Context, Lines, entering
from blade_server.rpc.threads import Threads


class Access:
    """Lets callers through, or not."""

    def __init__(self, door: Door, threads: Threads, lines: Lines, pace: Pace, refusals: Refusals) -> None:
        self._door = door
        self._threads = threads
        self.lines = lines
        self._pace = pace
        self._refusals = refusals

    async def principal(self, context: Context) -> Principal:
        """Who calls. Raises Unauthenticated, StorageUnavailable."""
        shown = self.lines.shown(context)
        known = self._door.remembered(shown)
        try:
            return known if known is not None else await self._threads.stored(self._door.identify, shown)
        except Unauthenticated as exc:
            self._refusals.stranger(self.lines.peer(context), exc)
            raise

    def with_access(self, method: str, needs: Needs, inner: Call) -> Call:
        """Raises Unauthenticated, QuotaExceeded; AccessDenied if he holds the role of the method on nothing at all."""

        async def call(raw: bytes, context: Context) -> bytes | None:
            principal = await self.principal(context)
            self._pace.check(principal)
            by = self.lines.caller(context, principal, needs.role, method, raw)
            try:
                check_method(principal, needs)
                with entering(by):
                    return await inner(raw, context)
            except AccessDenied as exc:
                self._refusals.known(by, exc)
                raise

        return call
