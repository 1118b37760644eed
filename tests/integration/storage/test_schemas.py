"""Several BLADEs in one database, each in a schema of its own, share nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool
from tests.support.access import called
from tests.support.databases import own_database
from tests.support.engine import EngineWorld, maintenance_rows
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

from blade_server.model.access import Deed
from blade_server.storage import audit
from blade_server.storage.access import RIGHTS_LOCK
from blade_server.storage.bell import Listener
from blade_server.storage.database import LOCKED, Database
from blade_server.storage.engine.leases import CLAIM_LOCK
from blade_server.storage.jobs.rows import ring
from blade_server.storage.migrate import migrate
from blade_server.storage.sync.places import PLACES_LOCK


def in_schema(url: str, schema: str) -> str:
    return f"{url}&options=-csearch_path%3D{schema}%20-clock_timeout%3D100ms"


@pytest.fixture(scope="module")
def databases(_postgres: str, _migrated_template: str) -> Iterator[list[Database]]:
    """One in `public`, the others in schemas of their own."""
    with own_database(_postgres, _migrated_template) as postgres_url:
        yield from _in_schemas(postgres_url)


def _in_schemas(postgres_url: str) -> Iterator[list[Database]]:
    first = Database(postgres_url)
    with first.begin() as connection:
        connection.execute(text("CREATE SCHEMA one; CREATE SCHEMA two"))
    found = [Database(in_schema(postgres_url, schema)) for schema in ("public", "one", "two")]
    for database in found[1:]:
        migrate(database.target)
    yield found
    for database in (first, *found):
        database.close()


def test_a_bell_is_heard_in_its_own_schema_alone(databases: list[Database]) -> None:
    heard: list[Queue[object]] = [Queue() for _ in databases]
    listeners = [
        Listener(database.target, queue.put, lambda queue=queue: queue.put("connected"))
        for database, queue in zip(databases, heard, strict=True)
    ]
    try:
        for listener, queue in zip(listeners, heard, strict=True):
            listener.start()
            assert queue.get(timeout=30) == "connected"
        for number, database in enumerate(databases):
            with database.begin() as connection:
                ring(connection, f"job-{number}")
        for number, queue in enumerate(heard):
            assert queue.get(timeout=30) == {f"job-{number}"}
            assert queue.empty()
    finally:
        for listener in listeners:
            listener.stop()


@pytest.mark.parametrize("key", [CLAIM_LOCK, RIGHTS_LOCK, PLACES_LOCK])
def test_a_lock_is_of_its_own_schema_alone(databases: list[Database], key: int) -> None:
    with databases[0].begin() as one, databases[1].begin() as two, databases[2].begin() as three:
        for connection in (one, two, three):
            connection.execute(text(f"SELECT {LOCKED}"), {"lock": key})
        audit.write(three, called(), Deed())
        audit.write(two, called(), Deed())


def test_in_one_schema_a_lock_is_one(databases: list[Database]) -> None:
    for database in databases:
        with database.begin() as one:
            one.execute(text(f"SELECT {LOCKED}"), {"lock": CLAIM_LOCK})
            with database.begin() as other:
                other.execute(text("SET LOCAL lock_timeout = 0"))
                free = other.execute(text(f"SELECT {LOCKED.replace('advisory', 'try_advisory')}"), {"lock": CLAIM_LOCK})
                assert free.scalar_one() is False


def test_the_lock_of_public_is_that_of_releases_before(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.begin() as connection, database.begin() as other:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLAIM_LOCK})
        free = other.execute(text(f"SELECT {LOCKED.replace('advisory', 'try_advisory')}"), {"lock": CLAIM_LOCK})
        assert free.scalar_one() is False
    database.close()


@pytest.mark.slow
def test_a_whole_job_runs_with_the_rights_that_the_page_grants(empty_postgres_url: str, tmp_path: Path) -> None:
    """The commands of docs/operations.md; beside it one in `public`."""
    page = (ROOT / "docs" / "operations.md").read_text()
    engine = create_engine(empty_postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as operator:
        for command in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)[0].strip().splitlines():
            operator.execute(text(command))
    migrate(empty_postgres_url)
    migrate(as_role(empty_postgres_url, "blade_owner"))
    worlds = []
    for number, url in enumerate((empty_postgres_url, as_role(empty_postgres_url, "blade_server"))):
        (tmp_path / str(number)).mkdir()
        migrate(url)
        worlds.append(EngineWorld(tmp_path / str(number), url))
    try:
        jobs = []
        for number, world in enumerate(worlds, 1):
            world.start(maintenance_rows(number * 10))
            world.add_source()
            world.runner()
            jobs.append(world.begin())
        for number, (world, job) in enumerate(zip(worlds, jobs, strict=True), 1):
            wait_until(lambda world=world, job=job: world.store.get(job.job_id).status.final)
            assert world.store.get(job.job_id).success_count == len(world.held()) == number * 10
    finally:
        for world in worlds:
            world.close()
        with engine.connect() as operator:
            for role in ("blade_server", "blade_owner"):
                operator.execute(text(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}"))


def as_role(url: str, role: str) -> str:
    return re.sub("//[^@]*@", f"//{role}@", url)
