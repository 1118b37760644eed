"""The life of a job process, one of those of `blade serve --workers`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import BinaryIO

from blade_server.app.engine_here import EngineHere
from blade_server.app.gauges import Gauges, pools
from blade_server.app.process import freeze, read_again_at_hangup, stop_at_signals
from blade_server.app.reread import Reread
from blade_server.app.state import opened, worker_pool_size
from blade_server.app.worker_processes import READ_AGAIN, RUN
from blade_server.metrics.families import CATALOG_UP, REGISTRY, WAREHOUSE_UP
from blade_server.metrics.sums import Additions
from blade_server.settings import Settings
from blade_server.storage.bell import Listener

log = logging.getLogger(__name__)


TELL_EVERY_S = 1.0


async def work(settings: Settings, on_ready: Callable[[], BinaryIO]) -> None:
    """The life of a worker: runs jobs and nothing else, until a signal, an order or the end of its standard input.

    `on_ready` gives where what is recorded here goes. Raises as `serve`.
    """
    stop, reread = stop_at_signals(), Reread(settings)
    read_again_at_hangup(stop, reread)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with AsyncExitStack() as stack:
        state = await opened(settings, stack, pool_size=worker_pool_size(settings))
        jobs = EngineHere(settings, state, stack)
        gauges = Gauges()
        gauges.read(lambda: pools({"main": state.database, **jobs.pools}))
        telling = _Telling(Additions([REGISTRY, gauges], [CATALOG_UP, WAREHOUSE_UP]))
        stack.push_async_callback(asyncio.to_thread, telling.stop)  # after the jobs: what they did last counts, too
        reread.sends(state)
        stack.push_async_callback(jobs.stop)
        listener = Listener(state.target, jobs.ring, jobs.wake, clock=state.clock)
        listener.start()
        stack.push_async_callback(asyncio.to_thread, listener.stop)
        following = asyncio.create_task(_follow(orders, jobs, reread, stop))
        freeze()
        telling.start(on_ready())
        await stop.wait()
        log.info("stopping: uploads in flight have %.0f s", settings.drain_timeout_s)
    following.cancel()


class _Telling:
    """Tells the parent each second what was recorded here, in a thread: the parent may be held up."""

    def __init__(self, additions: Additions) -> None:
        self._additions = additions
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, output: BinaryIO) -> None:
        self._thread = threading.Thread(target=self._run, args=(output,), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tells the rest, if somebody takes it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(TELL_EVERY_S)

    def _run(self, output: BinaryIO) -> None:
        stopping = False
        with suppress(OSError):  # the parent is gone, and soon this process
            while not stopping:
                stopping = self._stopping.wait(TELL_EVERY_S)
                output.write(self._additions.line())
                output.flush()


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
