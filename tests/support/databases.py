"""Databases of one PostgreSQL server: templates that are filled once, and copies of them for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2


def create_database(server: str, name: str, template: str) -> str:
    """Its URL. Nobody may be connected to the template."""
    _run(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    url = server.replace("/postgres?", f"/{name}?", 1)
    if not template.startswith("template"):  # else servers would take it for a restored backup of another one
        _run(url, "UPDATE about SET database_id = gen_random_uuid()")
    return url


@contextmanager
def own_database(server: str, template: str) -> Iterator[str]:
    """URL of a copy of the template, gone afterwards."""
    name = f"test_{secrets.token_hex(8)}"
    yield create_database(server, name, template)
    _run(server, f"DROP DATABASE {name} WITH (FORCE)")


def of_a_newer_release(url: str, *, readable_from: str) -> None:
    """Its tables are as if a release to come had migrated them."""
    _run(url, "UPDATE alembic_version SET version_num = '9999'")
    _run(url, f"UPDATE about SET readable_from = '{readable_from}'")


def _run(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)
