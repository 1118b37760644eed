"""The migrations make exactly the tables that the code expects, once, whoever asks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool
from tests.support.databases import of_a_newer_release
from tests.support.nouns import a_source, a_spec
from tests.support.pooler import pgbouncer

from blade_server.errors import StorageUnavailable
from blade_server.model import Status
from blade_server.model.access import Scope
from blade_server.storage import migrate as migrate_module
from blade_server.storage.codec import source_document, spec_document
from blade_server.storage.connect import Pooling, Target
from blade_server.storage.database import Database
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.migrate import LOCK, NewerTablesError, migrate
from blade_server.storage.tables import metadata


def test_the_migrations_make_the_tables_that_the_code_expects(postgres_url):
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        assert differences == []
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())


def test_migrating_again_changes_nothing(postgres_url):
    migrate(postgres_url)
    migrate(postgres_url)


@pytest.mark.slow
def test_many_replicas_may_migrate_an_empty_database_at_once(empty_postgres_url):
    program = "import sys; from blade_server.storage.migrate import migrate; migrate(sys.argv[1])"
    replicas = [
        subprocess.Popen([sys.executable, "-c", program, empty_postgres_url], stderr=subprocess.PIPE) for _ in range(4)
    ]
    outcomes = [(replica.communicate(timeout=60)[1], replica.returncode) for replica in replicas]
    assert [code for _, code in outcomes] == [0, 0, 0, 0], outcomes
    engine = create_engine(empty_postgres_url, poolclass=NullPool)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1


def test_a_lock_that_stays_taken_is_told_with_who_holds_it_and_is_not_a_hang(postgres_url, monkeypatch, caplog):
    monkeypatch.setattr(migrate_module, "TOLD_AFTER_S", 0.2)
    engine = create_engine(f"{postgres_url}&application_name=hanging", poolclass=NullPool)
    with engine.connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        with pytest.raises(StorageUnavailable, match=r"the migration lock has been held .* hanging .* hangs$"):
            migrate(postgres_url, timeout_s=0.5)
    (told,) = [record.getMessage() for record in caplog.records if record.name == "blade_server.storage.migrate"]
    assert "the migration lock is in use" in told
    assert " hanging " in told


def test_nothing_of_a_migration_stays_at_a_pooler_s_backend(postgres_url):
    engine = create_engine(postgres_url, poolclass=NullPool)
    with pgbouncer(postgres_url, "transaction") as url, engine.connect() as connection:
        migrate(Target(url=url, pooling=Pooling.TRANSACTION))
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()")
        assert connection.execute(query).scalar_one() == 0


def test_a_schema_of_its_own_is_migrated_beside_another(empty_postgres_url):
    engine = create_engine(empty_postgres_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text('CREATE SCHEMA "Blade 2"'))
    migrate(empty_postgres_url)
    with engine.begin() as holder:  # of a lock that is no business of the other schema
        holder.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        migrate(f'{empty_postgres_url}&options=-csearch_path%3D"Blade\\ 2"', timeout_s=0)
    with engine.connect() as connection:
        schemas = connection.execute(text("SELECT schemaname FROM pg_tables WHERE tablename = 'job'")).scalars()
        assert set(schemas) == {"public", "Blade 2"}


def test_a_database_that_is_not_there_is_a_plain_word_without_its_password():
    with pytest.raises(StorageUnavailable, match="DATABASE_URL") as raised:
        migrate("postgresql://blade:hush-hush@127.0.0.1:1/blade")
    assert "hush-hush" not in str(raised.value)


@pytest.mark.slow
def test_of_six_starts_through_a_pooler_one_that_is_killed_while_it_migrates_holds_up_no_other(
    empty_postgres_url, wait_until
):
    with pgbouncer(empty_postgres_url, "transaction") as url:
        program = (
            "import sys; from blade_server.storage.migrate import migrate; "
            "from blade_server.storage.probe import probe; migrate(probe(sys.argv[1]))"
        )

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE)

        engine = create_engine(empty_postgres_url, poolclass=NullPool)
        with engine.connect() as holder, engine.connect() as watcher:
            holder.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
            killed = start()
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            wait_until(lambda: watcher.execute(waiting).scalar_one())
            others = [start() for _ in range(5)]
            killed.kill()
            killed.communicate()
            holder.rollback()
        outcomes = [(other.communicate(timeout=60)[1], other.returncode) for other in others]
    assert [code for _, code in outcomes] == [0] * 5, outcomes
    assert not any(b"Traceback" in errors for errors, _ in outcomes)


# ------------------------------------------------------------------------------------- tables of the release before

FULL = 2**31 - 1
"""The highest count that the first tables could hold."""


@pytest.fixture
def first_tables(empty_postgres_url: str) -> Iterator[Engine]:
    """A database as 0.1.0 left it, with a job in every status."""
    engine = create_engine(empty_postgres_url, poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(Path(migrate_module.__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number, status in enumerate(Status):
            connection.execute(
                text(
                    """
                    INSERT INTO job (job_id, source, source_json, spec, plan, status, total_items, success_count,
                                     error_count, create_time, update_time)
                    VALUES (:job_id, 'parts', :source, :spec, '{}', :status, :total, :total - 3, 3, now(), now())
                    """
                ),
                {
                    "job_id": f"job-{number}",
                    "source": json.dumps(source_document(a_source())),
                    "spec": json.dumps(spec_document(a_spec())),
                    "status": status,
                    "total": FULL,
                },
            )
            connection.execute(text("INSERT INTO job_error_count VALUES (:id, 'INTERNAL', 3)"), {"id": f"job-{number}"})
        connection.commit()
    yield engine
    engine.dispose()


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_jobs_of_the_release_before_keep_their_counts_and_may_count_on(first_tables):
    migrate(url_of(first_tables))
    with first_tables.begin() as connection:
        connection.execute(text("UPDATE job SET success_count = success_count * 4, total_items = total_items * 4"))
        connection.execute(text("UPDATE job_error_count SET items = items * :full"), {"full": FULL})
        assert set(connection.execute(text("SELECT level FROM job")).scalars()) == {0}
    database = Database(url_of(first_tables))
    jobs = JobStore(database).page(limit=9, seen=Scope(all=True))
    database.close()
    assert {job.status for job in jobs} == set(Status)
    assert {(job.total_items, job.success_count, job.error_count) for job in jobs} == {(FULL * 4, (FULL - 3) * 4, 3)}


def test_a_migration_waits_for_a_table_in_use_and_lets_others_through_meanwhile(
    first_tables, monkeypatch, caplog, wait_until
):
    monkeypatch.setattr(migrate_module, "LOCK_TIMEOUT_S", 1)
    monkeypatch.setattr(migrate_module, "TOLD_AFTER_S", 0.3)
    migrating = threading.Thread(target=migrate, args=(url_of(first_tables),))
    with first_tables.connect() as holder, first_tables.connect() as reader, caplog.at_level("INFO"):
        holder.execute(text("SELECT FROM job"))  # as pg_dump does: to the end of its transaction
        migrating.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'job'::regclass")
        while not reader.execute(waiting).scalar_one():
            reader.rollback()
        assert reader.execute(text("SELECT count(*) FROM job")).scalar_one() == len(Status)
        reader.rollback()
        wait_until(lambda: "in use" in caplog.text)
        holder.rollback()
        migrating.join(30)
        assert reader.execute(text("SELECT version_num FROM alembic_version")).scalar_one() >= "0002"
    assert re.search(r"in use; trying again until process \d+ of PostgreSQL, postgres since \d s", caplog.text)


def test_a_table_that_stays_in_use_is_a_plain_word_and_nothing_is_changed(first_tables, monkeypatch):
    monkeypatch.setattr(migrate_module, "LOCK_TIMEOUT_S", 1)
    with first_tables.connect() as holder:
        holder.execute(text("SELECT FROM job"))
        with pytest.raises(StorageUnavailable, match="pg_dump"):
            migrate(url_of(first_tables), timeout_s=0.5)
        assert holder.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "0001"


# ------------------------------------------------------------------------------------- tables of a release to come


def test_every_migration_from_the_third_on_says_who_may_run_beside_it():
    scripts = [script for script in migrate_module._scripts(migrate_module._config()) if script.revision > "0002"]
    assert scripts
    for script in scripts:
        assert re.fullmatch(r"\d+\.\d+\.\d+", script.module.readable_from), script.revision


@pytest.mark.parametrize(
    ("mine", "readable_from", "runs"),
    [
        ("0.3.0", "0.3.0", True),
        ("0.10.0", "0.9.1", True),
        ("1.0.0rc1", "0.9.9", True),
        ("0.3.0", "0.3.1", False),
        ("0.9.1", "0.10.0", False),
        ("0.3.0", "", False),
    ],
)
def test_a_release_runs_on_newer_tables_from_the_one_they_name(postgres_url, monkeypatch, mine, readable_from, runs):
    monkeypatch.setattr(migrate_module, "version", lambda _: mine)
    of_a_newer_release(postgres_url, readable_from=readable_from)
    with nullcontext() if runs else pytest.raises(NewerTablesError, match="of a newer release"):
        migrate(postgres_url)


def test_the_tables_keep_the_highest_release_that_any_migration_names(first_tables):
    migrate(url_of(first_tables))
    with first_tables.connect() as connection:
        assert connection.execute(text("SELECT readable_from FROM about")).scalar_one() >= "0.2.0"
