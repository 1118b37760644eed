"""Puts everything together, starts it in order, and stops it in the opposite order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from blade_server.app.calls import Calls
from blade_server.app.engine_here import EngineHere
from blade_server.app.exposure import check_exposure, warn_of_exposure
from blade_server.app.process import freeze, read_again_at_hangup, stop_at_signals
from blade_server.app.reread import Reread
from blade_server.app.sight import Sight
from blade_server.app.state import most_connections, opened
from blade_server.app.worker_processes import WorkerError, Workers
from blade_server.core.jobs.pruner import Pruner
from blade_server.settings import Settings
from blade_server.storage.bell import Listener
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import Database
from blade_server.storage.pulse import Pulse
from blade_server.storage.retention import Retention

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What runs, for people and scripts; no secrets."""

    version: str
    host: str
    port: int
    http_port: int
    mtls_port: int
    """gRPC for callers who sign in by a certificate; 0: there is none."""
    admin_host: str
    admin_port: int
    """Probes and metrics; 0: there are none."""
    workers: tuple[int, ...]
    """Process ids of the job processes; none: jobs run in this one."""
    socket: str
    """gRPC without TLS for programs of the server's own user on this machine, `unix:PATH`."""
    database: str
    warehouse: str
    catalog: str


async def serve(settings: Settings, on_ready: Callable[[Serving], None]) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully; a second signal ends the process at once. SIGHUP: see
    `read_again_at_hangup`.

    Raises:
        ValueError: a setting cannot be right.
        ListenError, EmbeddedPostgresError, NewerTablesError, StorageUnavailable, WorkerError: it cannot start.
        WorkerError: it had to stop.
    """
    stop, reread = stop_at_signals(), Reread(settings)
    read_again_at_hangup(stop, reread)
    reasons: list[WorkerError] = []

    def give_up(exc: WorkerError) -> None:
        reasons.append(exc)
        stop.set()

    async with running(settings, give_up, reread) as serving:
        freeze()
        on_ready(serving)
        await stop.wait()
        log.info("stopping: calls and uploads in flight have %.0f s", settings.drain_timeout_s)
    if reasons:
        raise reasons[0]


@asynccontextmanager
async def running(settings: Settings, give_up: Callable[[WorkerError], None], reread: Reread) -> AsyncIterator[Serving]:
    """A whole server, from entering to leaving. Raises as `serve`; `give_up` says later that it must not go on."""
    check_exposure(settings)
    warn_of_exposure(settings)
    async with AsyncExitStack() as stack:
        sight = Sight(settings)
        await sight.open(stack)
        state = await opened(settings, stack, pool_size=settings.database_pool_size)
        jobs: EngineHere | Workers = (
            Workers(settings, give_up, sight.of_workers) if settings.workers else EngineHere(settings, state, stack)
        )
        pulse = sight.follow(state, jobs, stack)
        calls = Calls(settings, state, jobs.wake, sight.readiness)
        reread.serves(settings, state, jobs.read_again)
        stack.push_async_callback(jobs.stop)
        await jobs.open()
        await calls.listen(stack)

        def on_ring(job_ids: frozenset[str]) -> None:
            calls.ring(job_ids)
            jobs.ring(job_ids)

        def on_connect() -> None:
            calls.wake()
            jobs.wake()

        listener = Listener(state.target, on_ring, on_connect, clock=state.clock)
        pruner = Pruner(Retention(state.database), older_than_s=settings.job_retention_days * 86400)
        stack.push_async_callback(_stop, calls, jobs, (listener, pruner, pulse))
        await calls.listen_for_http()
        listener.start()
        jobs.start()
        pruner.start()
        calls.start()
        _tell_of_pooler(state.target, settings)
        await asyncio.to_thread(_warn_of_too_few_connections, settings, state.database)
        sight.readiness.serves()
        await calls.say_ready()
        yield Serving(
            version=version("blade"),
            host=calls.rpc.host,
            port=calls.rpc.port,
            http_port=calls.http_port,
            mtls_port=calls.rpc.mtls_port,
            admin_host=settings.admin_host,
            admin_port=sight.admin_port,
            workers=jobs.pids,
            socket=calls.rpc.local_target,
            database=state.database.place if settings.database_url else "embedded",
            warehouse=settings.databricks_server_hostname,
            catalog=settings.catalog_url,
        )


def _tell_of_pooler(target: Target, settings: Settings) -> None:
    if target.pooling is Pooling.TRANSACTION:
        heard = "" if target.bell else "changes are looked for every second (BLADE_LISTEN_DATABASE_URL hears them), "
        log.warning("a pooler in transaction mode stands in front of PostgreSQL: %sGetJob goes through the pool", heard)
    elif target.pooling is Pooling.SESSION:
        log.info(
            "a pooler in session mode stands in front of PostgreSQL: this server may take %d of its connections",
            most_connections(settings),
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


async def _stop(calls: Calls, jobs: EngineHere | Workers, threads: tuple[Listener, Pruner, Pulse]) -> None:
    """Load balancers and watchers first; then all else side by side, so that nobody waits for another one's limit."""
    await calls.announce_stop()
    stopping = (asyncio.to_thread(thread.stop) for thread in threads)
    await asyncio.gather(jobs.stop(), calls.stop(), calls.stop_starting(), *stopping)
