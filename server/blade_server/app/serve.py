"""Puts everything together, starts it in order, and stops it in the opposite order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from blade_server.app.halves import Calls, JobsHere, most_connections, opened, worker_pool_size
from blade_server.app.worker_processes import RUN, Workers
from blade_server.core.jobs.pruner import Pruner
from blade_server.settings import Settings
from blade_server.storage.bell import Listener
from blade_server.storage.database import Database
from blade_server.storage.retention import Retention

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What runs, for people and scripts; no secrets."""

    version: str
    host: str
    port: int
    http_port: int
    workers: tuple[int, ...]
    """Process ids of the job processes; none: jobs run in this one."""
    database: str
    warehouse: str
    catalog: str


async def serve(settings: Settings, on_ready: Callable[[Serving], None]) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully; a second signal ends the process at once.

    Raises:
        ValueError: a setting cannot be right.
        ListenError, EmbeddedPostgresError, StorageUnavailable, WorkerError: it cannot start.
    """
    stop = _stop_at_signals()
    async with running(settings) as serving:
        _freeze()
        on_ready(serving)
        await stop.wait()
        log.info("stopping: calls and uploads in flight have %.0f s", settings.drain_timeout_s)


async def work(settings: Settings, on_ready: Callable[[], None]) -> None:
    """The life of a worker: runs jobs and nothing else, until a signal, an order or the end of its standard input.

    Raises as `serve`.
    """
    stop = _stop_at_signals()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with AsyncExitStack() as stack:
        state = await opened(settings, stack, pool_size=worker_pool_size(settings))
        jobs = JobsHere(settings, state, stack)
        stack.push_async_callback(jobs.stop)
        listener = Listener(state.url, jobs.ring, jobs.wake)
        listener.start()
        stack.push_async_callback(asyncio.to_thread, listener.stop)
        following = asyncio.create_task(_follow(orders, jobs, stop))
        _freeze()
        on_ready()
        await stop.wait()
        log.info("stopping: uploads in flight have %.0f s", settings.drain_timeout_s)
    following.cancel()


async def _follow(orders: asyncio.StreamReader, jobs: JobsHere, stop: asyncio.Event) -> None:
    """Does what the parent says. The end of its words is its death, or that somebody told it twice to stop."""
    try:
        async for order in orders:
            if order == RUN:
                jobs.start()
            else:
                stop.set()
        if stop.is_set():
            os._exit(1)
    finally:
        stop.set()  # whatever happens here: nobody may run without a parent


def _stop_at_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one ends the process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop_then_exit() -> None:
        stop.set()
        for number in signals:  # leases, transactions and the embedded PostgreSQL all survive this
            loop.add_signal_handler(number, os._exit, 128 + number)

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop_then_exit)
    return stop


def _freeze() -> None:
    """The garbage collector looks from here on only at what jobs and calls make: a tenth more items a second.

    And seldom: by default it looks at everything once in 70,000 new objects, which is each second with 5,000 watchers.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Serving]:
    """A whole server, from entering to leaving. Raises as `serve`."""
    async with AsyncExitStack() as stack:
        state = await opened(settings, stack, pool_size=settings.database_pool_size)
        jobs = Workers(settings) if settings.workers else JobsHere(settings, state, stack)
        calls = Calls(settings, state, jobs.wake)
        stack.push_async_callback(jobs.stop)
        await jobs.open()
        await calls.listen(stack)
        stack.push_async_callback(_stop, calls, jobs)
        await calls.listen_for_http()

        def on_ring(job_ids: frozenset[str]) -> None:
            calls.feed.ring(job_ids)
            jobs.ring(job_ids)

        def on_connect() -> None:
            calls.feed.ring_all()
            jobs.wake()

        listener = Listener(state.url, on_ring, on_connect)
        listener.start()
        stack.push_async_callback(asyncio.to_thread, listener.stop)
        jobs.start()
        pruner = Pruner(Retention(state.database), older_than_s=settings.job_retention_days * 86400)
        pruner.start()
        stack.push_async_callback(asyncio.to_thread, pruner.stop)
        await asyncio.to_thread(_warn_of_too_few_connections, settings, state.database)
        yield Serving(
            version=version("blade"),
            host=calls.rpc.host,
            port=calls.rpc.port,
            http_port=calls.http_port,
            workers=jobs.pids,
            database=state.database.place if settings.database_url else "embedded",
            warehouse=settings.databricks_server_hostname,
            catalog=settings.catalog_url,
        )


def _warn_of_too_few_connections(settings: Settings, database: Database) -> None:
    wanted, taken = most_connections(settings), database.max_connections()
    if wanted > taken:
        log.warning(
            "this server and its workers may want %d connections to PostgreSQL, which takes %d: lower BLADE_WORKERS, "
            "BLADE_MAX_RUNNING_JOBS or BLADE_DATABASE_POOL_SIZE, or raise its max_connections",
            wanted,
            taken,
        )


async def _stop(calls: Calls, jobs: JobsHere | Workers) -> None:
    """Load balancers and watchers first; then the other calls, and jobs, side by side."""
    await calls.announce_stop()
    await asyncio.gather(jobs.stop(), calls.stop())
