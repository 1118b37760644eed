"""The calls that are running, so that a server that stops can wait for them and then end them."""

from __future__ import annotations

import asyncio
from typing import Any

from blade_server.errors import ShuttingDown
from blade_server.rpc.around.call import Call
from blade_server.rpc.caller import Context


class Drain:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Returns when no call is running."""
        await self._idle.wait()

    def end_calls(self) -> None:
        """Ends every running call with ShuttingDown."""
        self._ending = True
        for task in self._running:
            task.cancel()

    def with_end(self, inner: Call) -> Call:
        """Lets `end_calls` end it."""

        async def call(raw: bytes, context: Context) -> bytes | None:
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            self._idle.clear()
            try:
                return await inner(raw, context)
            except asyncio.CancelledError:
                if not self._ending:
                    raise
                task.uncancel()
                raise ShuttingDown("this server is stopping; call again, any replica will do") from None
            finally:
                self._running.discard(task)
                if not self._running:
                    self._idle.set()

        return call
