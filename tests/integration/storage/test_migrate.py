"""The migrations make exactly the tables that the code expects, once, whoever asks."""

from __future__ import annotations

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from blade_server.errors import StorageUnavailable
from blade_server.storage.connect import normalised
from blade_server.storage.migrate import LOCK, migrate
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


def test_a_lock_that_stays_taken_is_a_plain_word_and_not_a_hang(postgres_url):
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        with pytest.raises(StorageUnavailable, match="migration lock"):
            migrate(postgres_url, timeout_s=0.3)


def test_a_database_that_is_not_there_is_a_plain_word_without_its_password():
    with pytest.raises(StorageUnavailable, match="DATABASE_URL") as raised:
        migrate("postgresql://blade:hush-hush@127.0.0.1:1/blade")
    assert "hush-hush" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_the_scheme_means_the_one_driver(scheme):
    assert normalised(f"{scheme}://u@h/d") == "postgresql+psycopg2://u@h/d"
