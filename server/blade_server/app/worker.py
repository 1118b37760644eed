"""The life of a job process, one of those of `blade serve --workers`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from blade_server.app.engine_here import EngineHere
from blade_server.app.process import freeze, read_again_at_hangup, stop_at_signals
from blade_server.app.reread import Reread
from blade_server.app.state import opened, worker_pool_size
from blade_server.app.worker_processes import READ_AGAIN, RUN
from blade_server.settings import Settings
from blade_server.storage.bell import Listener

log = logging.getLogger(__name__)


async def work(settings: Settings, on_ready: Callable[[], None]) -> None:
    """The life of a worker: runs jobs and nothing else, until a signal, an order or the end of its standard input.

    Raises as `serve`.
    """
    stop, reread = stop_at_signals(), Reread(settings)
    read_again_at_hangup(stop, reread)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with AsyncExitStack() as stack:
        state = await opened(settings, stack, pool_size=worker_pool_size(settings))
        jobs = EngineHere(settings, state, stack)
        reread.sends(state)
        stack.push_async_callback(jobs.stop)
        listener = Listener(state.url, jobs.ring, jobs.wake, clock=state.clock)
        listener.start()
        stack.push_async_callback(asyncio.to_thread, listener.stop)
        following = asyncio.create_task(_follow(orders, jobs, reread, stop))
        freeze()
        on_ready()
        await stop.wait()
        log.info("stopping: uploads in flight have %.0f s", settings.drain_timeout_s)
    following.cancel()


async def _follow(orders: asyncio.StreamReader, jobs: EngineHere, reread: Reread, stop: asyncio.Event) -> None:
    """Does what the parent says. The end of its words is its death, or that somebody told it twice to stop."""
    try:
        async for order in orders:
            if order == RUN:
                jobs.start()
            elif order == READ_AGAIN:
                reread()
            else:
                stop.set()
        if stop.is_set():
            os._exit(1)
    finally:
        stop.set()  # whatever happens here: nobody may run without a parent
