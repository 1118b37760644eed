"""Puts everything together, starts it in order, and stops it in the opposite order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlsplit

from blade_server.catalog.http import Catalog
from blade_server.core.feed import Feed
from blade_server.core.ingest import Ingest
from blade_server.core.jobs import MAX_WORKERS, Jobs
from blade_server.core.pacing import Throttle
from blade_server.core.pipeline import Parts
from blade_server.core.pruner import Pruner
from blade_server.core.queries import Queries
from blade_server.core.runner import Runner
from blade_server.core.sources import Sources
from blade_server.rpc.server import RpcServer
from blade_server.settings import Settings
from blade_server.storage.claims import ClaimStore
from blade_server.storage.database import Database
from blade_server.storage.embedded import EmbeddedPostgres
from blade_server.storage.jobs import JobStore
from blade_server.storage.listener import Listener
from blade_server.storage.migrate import migrate
from blade_server.storage.paces import PaceStore
from blade_server.storage.retention import Retention
from blade_server.storage.sources import SourceStore
from blade_server.web.app import Web

log = logging.getLogger(__name__)

_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
_OWN_CONNECTIONS = 2  # to PostgreSQL, for beats, claims and the catalog's holds: they never wait for the jobs' writes
_SPARE_CONNECTIONS = 16  # to the catalog, beside those of the jobs: single ingestion and probes


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What runs, for people and scripts; no secrets."""

    version: str
    host: str
    port: int
    http_port: int
    database: str
    warehouse: str
    catalog: str


async def serve(settings: Settings, on_ready: Callable[[Serving], None]) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully; a second signal ends the process at once.

    Raises:
        ValueError: a setting cannot be right.
        ListenError, EmbeddedPostgresError, StorageUnavailable: it cannot start.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _on_signal, number, stop)
    async with running(settings) as serving:
        # The garbage collector looks from here on only at what jobs and calls make: a tenth more items a second.
        gc.freeze()
        on_ready(serving)
        await stop.wait()
        log.info("stopping: calls and uploads in flight have %.0f s", settings.drain_timeout_s)


def _on_signal(number: int, stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(128 + number)  # leases, transactions and the embedded PostgreSQL all survive this
    stop.set()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Serving]:
    """A whole server, from entering to leaving. Raises as `serve`."""
    async with AsyncExitStack() as stack:
        url = await _database_url(settings, stack)
        await asyncio.to_thread(migrate, url)
        database = Database(url, pool_size=settings.database_pool_size)
        stack.callback(database.close)
        runners_own = Database(url, pool_size=_OWN_CONNECTIONS)
        stack.callback(runners_own.close)
        catalog = Catalog(
            settings.catalog_url,
            settings.catalog_token,
            settings.catalog_ca_file,
            settings.catalog_timeout_s,
            settings.max_running_jobs * MAX_WORKERS + _SPARE_CONNECTIONS,
        )
        stack.callback(catalog.close)

        job_store, source_store = JobStore(database), SourceStore(database)
        stack.callback(job_store.live.close)
        sources = Sources(settings, source_store)
        queries = Queries(settings, sources)
        ingest = Ingest(settings, sources, catalog, source_store, queries)
        parts = Parts(
            settings=settings,
            claims=ClaimStore(database),
            paces=PaceStore(database),
            catalog=catalog,
            throttle=Throttle(PaceStore(runners_own)),
        )
        runner = Runner(parts, ClaimStore(runners_own))
        pruner = Pruner(Retention(database), older_than_s=settings.job_retention_days * 86400)
        jobs = Jobs(settings, job_store, sources, runner.wake)
        feed = Feed(job_store.get_many, max_watchers=settings.max_watchers)
        feed.start()
        stack.push_async_callback(feed.close)

        server = RpcServer(settings, sources=sources, queries=queries, ingest=ingest, jobs=jobs, feed=feed)
        await server.start()
        web = Web(server.local_target, settings)
        stack.push_async_callback(_stop, server, web, feed, runner, settings.drain_timeout_s)
        http_port = await web.start()

        def on_ring(job_ids: frozenset[str]) -> None:
            feed.ring(job_ids)
            runner.ring(job_ids)

        def on_connect() -> None:
            feed.ring_all()
            runner.wake()

        listener = Listener(url, on_ring, on_connect)
        listener.start()
        stack.push_async_callback(asyncio.to_thread, listener.stop)
        runner.start()
        pruner.start()
        stack.push_async_callback(asyncio.to_thread, pruner.stop)
        yield Serving(
            version=version("blade"),
            host=server.host,
            port=server.port,
            http_port=http_port,
            database=database.place if settings.database_url else "embedded",
            warehouse=settings.databricks_server_hostname,
            catalog=settings.catalog_url,
        )


async def _stop(server: RpcServer, web: Web, feed: Feed, runner: Runner, drain_timeout_s: float) -> None:
    """Load balancers first, watchers second; then calls over HTTP, the other calls, and jobs, side by side."""
    await server.announce_stop()
    await feed.close()

    async def stop_calls() -> None:
        await web.stop(drain_timeout_s)
        await server.stop(drain_timeout_s)

    await asyncio.gather(asyncio.to_thread(runner.stop, drain_timeout_s), stop_calls())


async def _database_url(settings: Settings, stack: AsyncExitStack) -> str:
    if settings.database_url is None:
        embedded = EmbeddedPostgres(settings.data_dir)
        stack.push_async_callback(asyncio.to_thread, embedded.stop)
        return await asyncio.to_thread(embedded.start)
    return checked_database_url(settings.database_url.get_secret_value())


def checked_database_url(url: str) -> str:
    """The URL as it is. Raises ValueError, without the URL's password, if it cannot be one of PostgreSQL."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ValueError("DATABASE_URL is not a URL; write postgresql://user:password@host:5432/database") from exc
    if parts.scheme not in _POSTGRES_SCHEMES:
        raise ValueError(f"DATABASE_URL begins with {parts.scheme or 'nothing'!r}; BLADE needs postgresql://")
    return url
