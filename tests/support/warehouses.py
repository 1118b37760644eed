"""One sandbox warehouse for the tests of a process, of which no test sees what another left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.waiting import wait_until

from blade_sandbox.warehouse import Warehouse

_TABLES = "SELECT table_catalog, table_schema, table_name, table_type FROM system.information_schema.tables"
_SCHEMAS = "SELECT catalog_name, schema_name FROM system.information_schema.schemata"


@contextmanager
def lent(warehouse: Warehouse) -> Iterator[Warehouse]:
    """The warehouse for one test: its faults, statements, sessions, tables and schemas end with it."""
    tables, schemas = _rows(warehouse, _TABLES), _rows(warehouse, _SCHEMAS)
    yield warehouse
    warehouse.faults.reset()
    warehouse.set_faults(expire_sessions=True)
    wait_until(lambda: not warehouse._serving().running())
    for catalog, schema in _rows(warehouse, _SCHEMAS) - schemas:
        warehouse.run(f"DROP SCHEMA {catalog}.{schema} CASCADE")
    for catalog, schema, name, kind in _rows(warehouse, _TABLES) - tables:
        warehouse.run(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {catalog}.{schema}.{name}")


def _rows(warehouse: Warehouse, statement: str) -> set[tuple[str, ...]]:
    return set(warehouse.run(statement))
