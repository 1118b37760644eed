"""Pytest fixtures: a Databricks SQL warehouse for the tests of any program that uses the official driver.

Named explicitly, in a conftest.py (``pytest_plugins = ["blade_sandbox.pytest_plugin"]``) or as ``pytest -p
blade_sandbox.pytest_plugin``. It is no entry point on purpose: that would load it, with the driver and DuckDB, in every
pytest run of whoever has BLADE installed.

One warehouse serves a test process (each worker of pytest-xdist has its own, on a free port of 127.0.0.1); each test
has a schema of its own in it, which is dropped with its tables afterwards.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pytest
from databricks import sql

from blade_sandbox.warehouse import Warehouse

CATALOG = "main"

Rows = Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]]


class MakeTable(Protocol):
    """The type of the fixture ``databricks_table``."""

    def __call__(
        self, name: str, data: Rows | pa.Table | Path | str = (), *, columns: Mapping[str, str] | None = None
    ) -> str:
        """Make a table in the test's schema, replacing one of the same name.

        Args:
            name: its last part, ``"sortie"``.
            data: rows (mappings, or sequences in the order of ``columns``), an Arrow table, or the path of a Parquet,
                CSV, JSON or NDJSON file (the text ones also as ``.gz`` or ``.zip``).
            columns: names and Databricks types, in order: ``{"id": "BIGINT", "due": "DATE"}``. Without them the types
                follow from the data.

        Returns:
            The full name, ``main.test_1f0c.sortie``.

        Raises:
            ValueError: neither rows nor columns, or a file that is missing or of an unknown kind.
        """


@pytest.fixture(scope="session")
def databricks_warehouse() -> Iterator[Warehouse]:
    """The warehouse of this test process: ``url``, ``http_path``, ``token``, ``connect_options()``, ``faults``."""
    with Warehouse() as warehouse:
        yield warehouse


@pytest.fixture
def databricks_schema(databricks_warehouse: Warehouse) -> Iterator[str]:
    """The name of a new schema in the catalog ``main``; gone after the test with all that is in it."""
    schema = f"test_{secrets.token_hex(6)}"
    databricks_warehouse.run(f"CREATE SCHEMA {CATALOG}.{schema}")
    yield schema
    databricks_warehouse.run(f"DROP SCHEMA IF EXISTS {CATALOG}.{schema} CASCADE")


@pytest.fixture
def databricks_connect_options(databricks_warehouse: Warehouse, databricks_schema: str) -> dict[str, Any]:
    """What a program under test passes to ``databricks.sql.connect(**options)`` to start in the test's schema."""
    return {**databricks_warehouse.connect_options(), "catalog": CATALOG, "schema": databricks_schema}


@pytest.fixture
def databricks_connection(databricks_connect_options: dict[str, Any]) -> Iterator[Any]:
    """An open connection of the driver, in the test's schema."""
    with sql.connect(**databricks_connect_options) as connection:
        yield connection


@pytest.fixture
def databricks_table(databricks_warehouse: Warehouse, databricks_schema: str) -> MakeTable:
    """Makes tables in the test's schema: see ``MakeTable``."""

    def make(name: str, data: Rows | pa.Table | Path | str = (), *, columns: Mapping[str, str] | None = None) -> str:
        full = f"{CATALOG}.{databricks_schema}.{name}"
        content = _content(data, columns)
        if columns is None:
            databricks_warehouse.load(full, content)
            return full
        types = ", ".join(f"`{column}` {kind}" for column, kind in columns.items())
        databricks_warehouse.run(f"CREATE OR REPLACE TABLE {full} ({types})")
        if not isinstance(content, pa.Table) or content.num_rows:
            loaded = f"{full}__loaded"
            databricks_warehouse.load(loaded, content)
            names = ", ".join(f"`{column}`" for column in columns)
            databricks_warehouse.run(f"INSERT INTO {full} SELECT {names} FROM {loaded}")  # noqa: S608 - names
            databricks_warehouse.run(f"DROP TABLE {loaded}")
        return full

    return make


@pytest.fixture
def databricks_faults(databricks_warehouse: Warehouse) -> Iterator[Callable[..., None]]:
    """Turns fault switches on, ``databricks_faults(fail_next={"count": 2, "code": 503})``; all off after the test.

    The warehouse is one for all tests of the process: a fault with a ``count`` that other threads may use up is theirs.
    """

    def switch(**switches: Any) -> None:
        databricks_warehouse.set_faults(**switches)

    yield switch
    databricks_warehouse.faults.reset()


def _content(data: Rows | pa.Table | Path | str, columns: Mapping[str, str] | None) -> pa.Table | Path:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, (str, Path)):
        return Path(data)
    if not data and columns is None:
        raise ValueError("a table without rows needs columns={'name': 'TYPE'}")
    names = list(columns or ())
    rows = [dict(row) if isinstance(row, Mapping) else dict(zip(names, row, strict=True)) for row in data]
    names = names or list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})
