"""Who calls, and whether the method is for him: before anything of the request is read."""

from __future__ import annotations

from blade_server import logs
from blade_server.core.access.door import Door
from blade_server.core.access.method import Needs, check_method
from blade_server.core.audit.refusals import Refusals
from blade_server.errors import AccessDenied, Unauthenticated
from blade_server.model.access import Principal
from blade_server.rpc.around.call import Call
from blade_server.rpc.around.pace import Pace
from blade_server.rpc.caller import Carried, Context, Lines, entering
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
        return await self._known(self.lines.read(context))

    async def _known(self, carried: Carried) -> Principal:
        shown = carried.shown
        known = self._door.remembered(shown)
        if known is not None:
            return known
        thread = self._threads.outward if self._door.may_wait_long(shown) else self._threads.stored
        try:
            return await thread(self._door.identify, shown)
        except Unauthenticated as exc:
            self._refusals.stranger(carried.peer, exc)
            raise

    def with_access(self, method: str, needs: Needs, inner: Call) -> Call:
        """Raises Unauthenticated, QuotaExceeded; AccessDenied if he holds the role of the method on nothing at all.

        A public method gets no caller.
        """
        if needs.public:
            return inner

        async def call(raw: bytes, context: Context) -> bytes | None:
            carried = self.lines.read(context)
            principal = await self._known(carried)
            logs.know(principal=principal.name)
            self._pace.check(principal)
            by = carried.caller(principal, needs.role, method, raw)
            try:
                check_method(principal, needs)
                with entering(by):
                    return await inner(raw, context)
            except AccessDenied as exc:
                self._refusals.known(by, exc)
                raise

        return call
