"""The two halves of a server, and the state both work on: one half answers calls, the other runs jobs.

`blade serve` has both in one process. With `--workers` it has the first, and each job process the second (workers.py).
They share nothing but PostgreSQL, and hear of each other by its bell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from blade_server.catalog import Catalog
from blade_server.core.direct.ingest import Ingest
from blade_server.core.direct.queries import Queries
from blade_server.core.engine.run import Parts
from blade_server.core.engine.runner import Runner
from blade_server.core.engine.upload.pacing import Throttle
from blade_server.core.jobs.jobs import MAX_WORKERS, Jobs
from blade_server.core.jobs.watch import Feed
from blade_server.core.sources.sources import Sources
from blade_server.rpc.server import RpcServer
from blade_server.settings import Settings
from blade_server.storage.database import Database
from blade_server.storage.embedded.postgres import EmbeddedPostgres
from blade_server.storage.engine.claims import ClaimStore
from blade_server.storage.engine.leases import Leases
from blade_server.storage.engine.ledger import LedgerStore
from blade_server.storage.engine.paces import PaceStore
from blade_server.storage.engine.records import RecordStore
from blade_server.storage.jobs.control import JobControl
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.migrate import migrate
from blade_server.storage.sources import SourceStore
from blade_server.web.app import Web

_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
_OWN_CONNECTIONS = 2  # to PostgreSQL, for beats, claims and the catalog's holds: they never wait for the jobs' writes
_SPARE_CONNECTIONS = 16  # to the catalog, beside those of the jobs: single ingestion and probes
_LISTENING = 1
_READING_LIVE = 1  # GetJob's own connection
_OF_A_JOB = 3
"""Connections to PostgreSQL that a job can use at one moment: its own thread, its reader, the upload next in pace."""


@dataclass(frozen=True, kw_only=True)
class State:
    """PostgreSQL with its tables up to date, and the catalog."""

    url: str
    database: Database
    catalog: Catalog


async def opened(settings: Settings, stack: AsyncExitStack, *, pool_size: int) -> State:
    """The state, until the stack is left.

    Raises ValueError for a setting that cannot be right, EmbeddedPostgresError, StorageUnavailable.
    """
    url = await _database_url(settings, stack)
    await asyncio.to_thread(migrate, url)
    database = Database(url, pool_size=pool_size)
    stack.callback(database.close)
    catalog = Catalog(
        settings.catalog_url,
        settings.catalog_token,
        settings.catalog_ca_file,
        settings.catalog_timeout_s,
        settings.max_running_jobs * MAX_WORKERS + _SPARE_CONNECTIONS,
    )
    stack.callback(catalog.close)
    return State(url=url, database=database, catalog=catalog)


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


def worker_pool_size(settings: Settings) -> int:
    """Connections for the jobs of a process that runs nothing else: many such processes share one PostgreSQL."""
    return min(settings.database_pool_size, _OF_A_JOB * settings.max_running_jobs)


def most_connections(settings: Settings) -> int:
    """How many connections a server and its job processes may have to PostgreSQL, all together."""
    each_worker = worker_pool_size(settings) + _OWN_CONNECTIONS + _LISTENING
    return settings.database_pool_size + _LISTENING + _READING_LIVE + settings.workers * each_worker


class JobsHere:
    """The half that runs jobs, in this process."""

    pids: tuple[int, ...] = ()

    def __init__(self, settings: Settings, state: State, stack: AsyncExitStack) -> None:
        """Nothing runs yet; what it opens is closed with the stack."""
        own = Database(state.url, pool_size=_OWN_CONNECTIONS)
        stack.callback(own.close)
        parts = Parts(
            settings=settings,
            claims=ClaimStore(state.database),
            ledgers=LedgerStore(state.database),
            records=RecordStore(state.database),
            paces=PaceStore(state.database),
            catalog=state.catalog,
            throttle=Throttle(PaceStore(own)),
        )
        self._drain_timeout_s = settings.drain_timeout_s
        self._runner = Runner(parts, Leases(own))

    async def open(self) -> None:
        """Has nothing to wait for."""

    def start(self) -> None:
        """Begins to claim jobs."""
        self._runner.start()

    def wake(self) -> None:
        """Jobs may wait. Any thread."""
        self._runner.wake()

    def ring(self, job_ids: Collection[str]) -> None:
        """These jobs have changed. Any thread."""
        self._runner.ring(job_ids)

    async def stop(self) -> None:
        """Hands all jobs back. Harmless if called again."""
        await asyncio.to_thread(self._runner.stop, self._drain_timeout_s)


class Calls:
    """The half that answers calls, over gRPC and HTTP. Belongs to the event loop it is made in."""

    def __init__(self, settings: Settings, state: State, jobs_wait: Callable[[], None]) -> None:
        """Listens nowhere yet. `jobs_wait` is called whenever a call has stored a job."""
        self._settings = settings
        self._job_store, source_store = JobStore(state.database), SourceStore(state.database)
        sources = Sources(settings, source_store)
        queries = Queries(settings, sources)
        ingest = Ingest(settings, sources, state.catalog, source_store, queries)
        new_jobs, control = NewJobs(state.database), JobControl(state.database)
        jobs = Jobs(settings, self._job_store, sources, jobs_wait, new_jobs=new_jobs, control=control)
        self.feed = Feed(self._job_store.get_many, max_watchers=settings.max_watchers)
        self.rpc = RpcServer(settings, sources=sources, queries=queries, ingest=ingest, jobs=jobs, feed=self.feed)
        self.http_port = 0

    async def listen(self, stack: AsyncExitStack) -> None:
        """Listens for gRPC. Raises ListenError. `stop` is for whoever got this far; the feed closes with the stack."""
        stack.callback(self._job_store.live.close)
        self.feed.start()
        stack.push_async_callback(self.feed.close)
        await self.rpc.start()
        self._web = Web(self.rpc.local_target, self._settings)

    async def listen_for_http(self) -> None:
        """Listens for HTTP, too. Raises ListenError."""
        self.http_port = await self._web.start()

    async def announce_stop(self) -> None:
        """Load balancers hear of it first, watchers second; other calls still work."""
        await self.rpc.announce_stop()
        await self.feed.close()

    async def stop(self) -> None:
        """Lets calls under way end: those over HTTP, then the others."""
        await self._web.stop(self._settings.drain_timeout_s)
        await self.rpc.stop(self._settings.drain_timeout_s)
