"""Syncs over PostgreSQL, the sandbox warehouse and the sandbox catalog; no engine runs their jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, text
from tests.support.access import AsTester, called
from tests.support.databases import own_database

from blade_sandbox.catalog import CatalogServer
from blade_server.app.policies import job_policy
from blade_server.catalog import Catalog
from blade_server.core.audit.recorder import Recorder
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.sync_jobs import Asked
from blade_server.core.syncs.syncs import Syncs
from blade_server.model.destination import Destination
from blade_server.model.sync import SyncSpec
from blade_server.settings import Settings
from blade_server.storage import tables
from blade_server.storage.database import Database
from blade_server.storage.jobs.show import JobStore

SOURCE = "blade-maintenance"
DESTINATIONS = ("elsewhere", "new", "deletes", *(f"place-{number}" for number in range(5)))
"""Beside the default."""


@pytest.fixture(scope="session")
def _database_of_all(_postgres: str, _migrated_template: str) -> Iterator[str]:
    with own_database(_postgres, _migrated_template) as url:
        yield url


@pytest.fixture
def postgres_url(_database_of_all: str) -> str:
    """One for all of these tests, emptied before each: making one takes longer than most of them."""
    database = Database(_database_of_all, pool_size=1)
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE audit_entry DISABLE TRIGGER audit_log_stays"))
        connection.execute(text("TRUNCATE source, sync, job, notification, destination, audit_entry CASCADE"))
    database.close()
    return _database_of_all


@pytest.fixture(scope="session")
def _catalog_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CatalogServer]:
    with CatalogServer(directory=tmp_path_factory.mktemp("catalog")) as server:
        yield server


@pytest.fixture
def catalog_server(_catalog_of_all: CatalogServer) -> CatalogServer:
    """One for all of these tests: they send nothing there."""
    return _catalog_of_all


@pytest.fixture
def catalogs(settings: Settings, catalog_server: CatalogServer) -> Iterator[Catalogs]:
    """The server's own catalog, and under every other name the same again."""
    default = Catalog(settings.catalog_url)
    catalogs = Catalogs(
        default,
        find=lambda name: Destination(name=name, url=catalog_server.url),
        connect=lambda destination: Catalog(destination.url),
    )
    yield catalogs
    catalogs.close()
    default.close()


@pytest.fixture
def jobs(settings: Settings, database: Database, sources: Sources, recorder: Recorder) -> Iterator[AsTester]:
    store = JobStore(database)
    policy = job_policy(settings)
    yield AsTester(Jobs.over(policy, database, store, sources, recorder=recorder, wake=lambda: None))
    store.live.close()


@pytest.fixture
def syncs(
    settings: Settings,
    database: Database,
    sources: Sources,
    recorder: Recorder,
    jobs: Jobs,
    catalogs: Catalogs,
    stored: None,
) -> AsTester:
    with database.begin() as connection:
        for name in DESTINATIONS:
            now = {"create_time": func.now(), "update_time": func.now()}
            connection.execute(tables.destination.insert().values(name=name, url=settings.catalog_url, **now))
    policy = job_policy(settings)
    show = jobs.show._part  # type: ignore[attr-defined]
    return AsTester(
        Syncs.over(policy, database, show, sources, catalogs, recorder=recorder, wake=lambda: None),
    )


@pytest.fixture
def sync(syncs: Any) -> Any:
    """A sync over all rows of the maintenance table."""
    return syncs.create("maintenance", a_sync())


@pytest.fixture
def set_job(database: Database) -> Callable[..., None]:
    """`set_job(job_id, status='COMPLETED', ...)`: what the engine would write of a job; times as seconds from now."""

    def write(job_id: str, **values: Any) -> None:
        for name in ("end_time", "create_time"):
            if name in values:
                values[name] = text(f"now() + make_interval(secs => {values[name]:f})")
        if values.get("status") in ("COMPLETED", "FAILED", "CANCELLED"):
            values.setdefault("end_time", text("now()"))
        with database.begin() as connection:
            job = tables.job
            connection.execute(job.update().where(job.c.job_id == job_id).values(**values))

    return write


def a_sync(**changes: Any) -> SyncSpec:
    return SyncSpec(**{"source": SOURCE, **changes})


def asked(**changes: Any) -> Asked:
    return Asked(**{"by": called(), **changes})


def audited(database: Database, about: str) -> list[tuple[str, str]]:
    """Reason and detail of the entries about an object, oldest first."""
    told = "content::jsonb ->> 'reason', content::jsonb ->> 'detail'"
    query = f"SELECT {told} FROM audit_entry WHERE object = :about ORDER BY number"
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(text(query), {"about": about})]
