"""What a process works on: PostgreSQL with its tables up to date, and the catalogs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from blade_server.addresses import checked_url
from blade_server.app.policies import destination_policy
from blade_server.catalog import Catalog
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.destinations.connect import connect
from blade_server.settings import Settings
from blade_server.storage.clock import Clock
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import Database
from blade_server.storage.destinations import DestinationStore
from blade_server.storage.embedded.postgres import EmbeddedPostgres, default_data_dir
from blade_server.storage.migrate import migrate
from blade_server.storage.probe import check_bell, probe

_POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
URGENT_CONNECTIONS = 2  # to PostgreSQL, for beats, claims and the catalog's holds: they never wait for the jobs' writes
_LISTENING = 1
_READING_LIVE = 1  # GetJob's own connection
_LOOKING = 2  # whether PostgreSQL answers; and what stands there, for the metrics
_OF_A_JOB = 3
"""Connections to PostgreSQL that a job can use at one moment: its own thread, its reader, the upload next in pace."""


@dataclass(frozen=True, kw_only=True)
class State:
    """PostgreSQL with its tables up to date, and the catalogs."""

    target: Target
    database: Database
    clock: Clock
    catalogs: Catalogs


async def opened(settings: Settings, stack: AsyncExitStack, *, pool_size: int) -> State:
    """The state, until the stack is left.

    Raises ValueError for a setting that cannot be right, EmbeddedPostgresError, NewerTablesError, StorageUnavailable.
    """
    policy = destination_policy(settings)
    catalog = Catalog(
        settings.catalog_url,
        settings.catalog_token,
        settings.catalog_ca_file,
        settings.catalog_timeout_s,
        policy.connections,
        settle_s=settings.catalog_settle_s,
    )
    stack.callback(catalog.close)
    target = await _target(settings, stack)
    await asyncio.to_thread(migrate, target)
    await asyncio.to_thread(check_bell, target)
    database = Database(target, pool_size=pool_size)
    stack.callback(database.close)
    catalogs = Catalogs(catalog, find=DestinationStore(database).get, connect=partial(connect, policy))
    stack.callback(catalogs.close)
    clock = Clock()
    await asyncio.to_thread(database.compare, clock)
    return State(target=target, database=database, clock=clock, catalogs=catalogs)


async def _target(settings: Settings, stack: AsyncExitStack) -> Target:
    if settings.database_url is None:
        embedded = EmbeddedPostgres(settings.data_dir)
        stack.push_async_callback(asyncio.to_thread, embedded.stop)
        return Target(url=await asyncio.to_thread(embedded.start))
    return await asyncio.to_thread(database_target, settings)


def database_target(settings: Settings) -> Target:
    """How to reach the PostgreSQL of DATABASE_URL, which must be set.

    Raises ValueError for what cannot be a URL of PostgreSQL, and StorageUnavailable if that cannot be used; no text has
    the password.
    """
    assert settings.database_url is not None
    url = checked_database_url("DATABASE_URL", settings.database_url)
    listen_url = settings.listen_database_url and checked_database_url(
        "BLADE_LISTEN_DATABASE_URL", settings.listen_database_url
    )
    pooling = Pooling(settings.database_pooling) if settings.database_pooling else None
    return probe(url, pooling=pooling, listen_url=listen_url or "")


def checked_database_url(name: str, secret: SecretStr) -> str:
    """The URL that a variable has. Raises ValueError, without its password, if it cannot be one of PostgreSQL."""
    url = secret.get_secret_value()
    if "://" not in url:  # so it may be anything, a password too
        raise ValueError(f"{name} is no URL; write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    checked_url(name, url, _POSTGRES_SCHEMES, database=True)
    return url


def seen_folder(settings: Settings) -> Path:
    """Where processes keep what they have seen of the work, which must survive what happens to PostgreSQL.

    Beside the embedded PostgreSQL's folder and not in it: a copy of that folder is a backup, which may be put back.
    """
    data_dir = _data_dir(settings)
    return data_dir.with_name(f"{data_dir.name}.seen")


def tokens_folder(settings: Settings) -> Path:
    """Where servers leave tokens for clients of their own user on this machine, with a DATABASE_URL too."""
    return _data_dir(settings) / "tokens"


def _data_dir(settings: Settings) -> Path:
    return default_data_dir() if settings.data_dir is None else settings.data_dir.absolute()


def worker_pool_size(settings: Settings) -> int:
    """Connections for the jobs of a process that runs nothing else: many such processes share one PostgreSQL."""
    return min(settings.database_pool_size, _OF_A_JOB * settings.max_running_jobs)


def most_connections(settings: Settings) -> int:
    """How many connections a server and its job processes may have to PostgreSQL, all together."""
    each_worker = worker_pool_size(settings) + URGENT_CONNECTIONS + _LISTENING
    return settings.database_pool_size + _LISTENING + _READING_LIVE + _LOOKING + settings.workers * each_worker
