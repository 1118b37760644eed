"""Who calls, and whether the method is for him: before anything of the request is read."""

from __future__ import annotations

from blade_server.core.access.door import Door
from blade_server.errors import AccessDenied
from blade_server.model.access import Principal
from blade_server.rpc.around.call import Call
from blade_server.rpc.caller import Context, Lines, entering
from blade_server.rpc.methods import Needs
from blade_server.rpc.threads import Threads


class Access:
    """Lets callers through, or not."""

    def __init__(self, door: Door, threads: Threads, lines: Lines) -> None:
        self._door = door
        self._threads = threads
        self.lines = lines

    async def principal(self, context: Context) -> Principal:
        """Who calls. Raises Unauthenticated, StorageUnavailable."""
        shown = self.lines.shown(context)
        known = self._door.remembered(shown)
        if known is not None:
            return known
        thread = self._threads.outward if self._door.may_wait_long(shown) else self._threads.stored
        return await thread(self._door.identify, shown)

    def with_access(self, method: str, needs: Needs, inner: Call) -> Call:
        """Raises Unauthenticated, and AccessDenied if he holds the role that the method needs on nothing at all.

        A public method gets no caller.
        """
        if needs.public:
            return inner

        async def call(raw: bytes, context: Context) -> bytes | None:
            principal = await self.principal(context)
            _check(principal, needs)
            with entering(self.lines.caller(context, principal, needs.role, method, raw)):
                return await inner(raw, context)

        return call


def _check(principal: Principal, needs: Needs) -> None:
    if needs.role is None:
        return
    if not (principal.anywhere(needs.role) if needs.anywhere else principal.everywhere(needs.role)):
        on = "at least one source" if needs.anywhere else "the server as a whole"
        message = f"{principal.name!r} needs the role {needs.role.name} on {on}; an ADMIN can grant it"
        raise AccessDenied(message, metadata={"role": needs.role.name, "principal": principal.name})
