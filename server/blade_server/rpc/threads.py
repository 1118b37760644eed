"""The threads in which calls do what blocks: three pools, so that one kind of call never waits behind another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from blade_server.core import caller

P = ParamSpec("P")
T = TypeVar("T")

_OUTWARD_THREADS = 64
_SPARE_STREAMS = 16  # for streams that core is about to refuse, and for those that are ending


class Threads:
    """Bounded pools; a call that finds its pool busy waits until its deadline.

    `stored` is for calls that ask PostgreSQL and nothing else, `outward` for those that wait for warehouse or catalog,
    `streams` (an executor) for one thread a direct query.
    """

    def __init__(self, *, stored: int, streams: int) -> None:
        self._stored = ThreadPoolExecutor(stored, "rpc-stored")
        self._outward = ThreadPoolExecutor(_OUTWARD_THREADS, "rpc-outward")
        self.streams = ThreadPoolExecutor(streams + _SPARE_STREAMS, "rpc-stream")

    async def stored(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls the function in a thread.

        A cancelled caller stops waiting; a function that runs already runs on, but is told that he left.
        """
        return await _run(self._stored, partial(function, *args, **kwargs))

    async def outward(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `stored`, for functions that may take long."""
        return await _run(self._outward, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Takes no more work and forgets what has not begun. Does not wait."""
        for pool in (self._stored, self._outward, self.streams):
            pool.shutdown(wait=False, cancel_futures=True)


async def _run(pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
    left = threading.Event()

    def work() -> T:
        with caller.working_for(left):
            return function()

    try:
        return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, work)
    except asyncio.CancelledError:
        left.set()
        raise
