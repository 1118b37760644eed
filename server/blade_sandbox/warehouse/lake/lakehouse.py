"""The data: catalogs, schemas and tables, kept in one DuckDB database.

DuckDB reserves the name ``main`` and cannot write to two attached databases in one transaction, so a Databricks
catalog is not a DuckDB database here: the table ``main.blade.sortie`` is the table ``sortie`` in the DuckDB schema
named ``main.blade`` (Unity Catalog allows no dot in a name, so this is unambiguous).
"""

# ruff: noqa: S608 - names are quoted identifiers, values are bound
from __future__ import annotations

import datetime
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from blade_sandbox.warehouse.errors import (
    SqlError,
    catalog_not_found,
    quote,
    schema_not_found,
    table_not_found,
    unsupported,
)
from blade_sandbox.warehouse.lake import macros
from blade_sandbox.warehouse.lake.files import scan, unpacked
from blade_sandbox.warehouse.lake.history import History
from blade_sandbox.warehouse.lake.sql_types import TIME_ZONE, SqlType, from_duckdb_name
from blade_sandbox.warehouse.lake.table_names import TableName, identifier
from blade_sandbox.warehouse.lake.volumes import Volumes

DEFAULT_CATALOG = "main"
DEFAULT_SCHEMA = "default"

Cursor = duckdb.DuckDBPyConnection
"""A connection of its own for one statement: DuckDB keeps one open result a connection."""

_NAME = r'(?:"(?:[^"]|"")*"|[^".(\s]+)'
_QUALIFIED = re.compile(rf"CREATE TABLE {_NAME}\.{_NAME}")
"""The head of a statement as ``duckdb_tables()`` has it; what follows is the list of columns."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or view as the catalog lists it."""

    name: TableName
    kind: str
    comment: str


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column of a table, ``position`` from 1."""

    table: TableName
    name: str
    type: SqlType
    position: int
    nullable: bool
    default: str | None
    comment: str


class Lakehouse:
    """Catalogs, schemas, tables and their versions in one DuckDB database, and the volumes beside them.

    Attributes:
        history: the versions of the tables.
        volumes: the files; unlike the tables they are gone at the end.

    Reading needs no lock (DuckDB gives each statement its own snapshot); whoever writes holds ``writing()``, so
    writers queue instead of failing with DuckDB's conflict error.
    """

    def __init__(self, *, database: Path | None = None, tables: Mapping[str, Path] | None = None) -> None:
        """Open the database and read the files into tables.

        Args:
            database: a DuckDB file that keeps everything; None: in memory.
            tables: ``catalog.schema.table`` -> Parquet, CSV, JSON or NDJSON file, CSV and JSON also zipped.

        Raises:
            ValueError: a name has not three parts, or a file is missing or of an unknown kind.
        """
        self._write_lock = threading.Lock()
        self._connect_lock = threading.Lock()
        self._connection = duckdb.connect(str(database) if database else ":memory:")
        self._spill = tempfile.TemporaryDirectory(prefix="blade-warehouse-")
        self.volumes = Volumes()
        try:
            self._connection.execute(f"SET GLOBAL TimeZone = '{TIME_ZONE}'")
            self._connection.execute(f"SET GLOBAL temp_directory = '{self._spill.name}'")
            self._connection.execute("SET GLOBAL python_enable_replacements = false")
            macros.install(self._connection)
            self.create_schema(DEFAULT_CATALOG, DEFAULT_SCHEMA)
            self._drop_leftovers()
            self.history = History(self._connection.cursor())
            for name, path in (tables or {}).items():
                self.load(TableName.parse(name), Path(path))
            # From here on no statement reaches the file system.
            self._connection.execute("SET GLOBAL enable_external_access = false")
        except BaseException:
            self.close()
            raise

    def _drop_leftovers(self) -> None:
        """Drop temporary views and the copies of transactions that a killed warehouse left in its file."""
        for (name,) in self.rows("SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database()"):
            if name.startswith((".session.", ".transaction.")):
                self._connection.execute(f"DROP SCHEMA {identifier(name)} CASCADE")

    def close(self) -> None:
        """Close the database; statements must have ended."""
        self._connection.close()
        self._spill.cleanup()
        self.volumes.close()

    def cursor(self) -> Cursor:
        """A new cursor, which the caller closes."""
        with self._connect_lock:
            return self._connection.cursor()

    @contextmanager
    def writing(self, cancelled: threading.Event | None = None) -> Iterator[None]:
        """Hold the right to write; gives up waiting when the statement is cancelled.

        Raises:
            InterruptedError: the statement was cancelled while it waited.
        """
        while not self._write_lock.acquire(timeout=0.05):
            if cancelled is not None and cancelled.is_set():
                raise InterruptedError("cancelled while waiting to write")
        try:
            yield
        finally:
            self._write_lock.release()

    def load(self, name: TableName, data: pa.Table | Path) -> None:
        """Make a table of an Arrow table or a file, replacing what was there; the file may be deleted afterwards.

        Raises:
            ValueError: the file is missing or of an unknown kind.
        """
        self.create_schema(name.catalog, name.schema)
        with self.writing(), _relation(data) as relation:
            cursor = self.cursor()
            try:
                cursor.register("loaded", relation)
                cursor.execute(f"CREATE OR REPLACE TABLE {name.sql} AS SELECT * FROM loaded")
                self.history.created(cursor, name, "CREATE OR REPLACE TABLE AS SELECT")
            finally:
                cursor.close()

    def vacuum(self, name: TableName, older_than: datetime.timedelta) -> None:
        """Forget the change rows of a table's versions that are older."""
        cursor = self.cursor()
        try:
            with self.writing():
                self.history.vacuumed(cursor, name, datetime.datetime.now(datetime.UTC) - older_than)
        finally:
            cursor.close()

    def rows(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a small query on the catalog itself."""
        cursor = self.cursor()
        try:
            return cursor.execute(sql, parameters or []).fetchall()
        finally:
            cursor.close()

    def catalogs(self) -> list[str]:
        """All catalogs by name, without ``system``."""
        return sorted({catalog for catalog, _ in self._schemas()})

    def schemas(self, catalog: str) -> list[str]:
        """The schemas of a catalog by name, without ``information_schema``."""
        return sorted(schema for owner, schema in self._schemas() if owner == catalog.lower())

    def _schemas(self) -> list[tuple[str, str]]:
        found = self.rows(
            "SELECT schema_name FROM duckdb_schemas() WHERE contains(schema_name, '.') "
            "AND schema_name NOT LIKE '.%' AND database_name = current_database()"
        )
        return [(catalog, schema) for (name,) in found for catalog, _, schema in [name.partition(".")]]

    def create_schema(self, catalog: str, schema: str) -> None:
        """Create a schema, with its catalog, if it is not there."""
        cursor = self.cursor()
        for name in (DEFAULT_SCHEMA, schema):
            physical = identifier(f"{catalog.lower()}.{name.lower()}")
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {physical}")
        cursor.close()

    def has_tables(self, catalog: str, schema: str) -> bool:
        """The schema holds tables or views."""
        return any(
            (table.name.catalog, table.name.schema) == (catalog.lower(), schema.lower()) for table in self.tables()
        )

    def drop_schema(self, catalog: str, schema: str, cascade: bool) -> None:
        """Drop a schema; with ``cascade`` also its tables and their versions.

        Raises:
            SqlError: it holds tables and ``cascade`` is not set.
        """
        if self.has_tables(catalog, schema) and not cascade:
            raise SqlError(
                "SCHEMA_NOT_EMPTY",
                "2BP01",
                f"Cannot drop a schema {quote(catalog, schema)} because it contains objects. Use DROP SCHEMA ... "
                "CASCADE to drop the schema and all its objects.",
            )
        cursor = self.cursor()
        with self.writing():
            for table in self.tables():
                if (table.name.catalog, table.name.schema) == (catalog.lower(), schema.lower()):
                    self.history.dropped(cursor, table.name)
            cursor.execute(f"DROP SCHEMA {identifier(f'{catalog.lower()}.{schema.lower()}')} CASCADE")
        cursor.close()

    def definition(self, cursor: Cursor, name: TableName, place: str) -> list[str]:
        """The statements that make an empty table like this one at ``place``, its comments included."""
        found = cursor.execute(
            "SELECT sql, comment FROM duckdb_tables() WHERE schema_name = ? AND lower(table_name) = ?",
            [name.physical_schema, name.table],
        ).fetchall()
        if not found:
            raise unsupported(f"a copy of {quote(*name.parts)}, which is no table")
        (sql, comment) = found[0]
        steps = [f"CREATE TABLE {place}{sql[_QUALIFIED.match(sql).end() :]}"]  # type: ignore[union-attr]
        if comment:
            steps.append(f"COMMENT ON TABLE {place} IS {_literal(comment)}")
        steps += [
            f"COMMENT ON COLUMN {place}.{identifier(column.name)} IS {_literal(column.comment)}"
            for column in self.columns(name)
            if column.comment
        ]
        return steps

    def copy(self, cursor: Cursor, name: TableName, place: str) -> None:
        """Make a table like this one at ``place``, with its rows, defaults and constraints."""
        for step in self.definition(cursor, name, place):
            cursor.execute(step)
        cursor.execute(f"INSERT INTO {place} SELECT * FROM {name.sql}")

    def require_catalog(self, catalog: str) -> None:
        """Raises SqlError unless the catalog is there."""
        if catalog.lower() not in [*self.catalogs(), "system"]:
            raise catalog_not_found(catalog)

    def require_schema(self, catalog: str, schema: str) -> None:
        """Raises SqlError unless the schema is there."""
        if schema.lower() != "information_schema" and (catalog.lower(), schema.lower()) not in self._schemas():
            raise schema_not_found(catalog, schema)

    def tables(self, name: TableName | None = None) -> list[Table]:
        """All tables and views in order of their names, or only the one named."""
        where, parameters = ("", [])
        if name is not None:
            where, parameters = "AND schema_name = ? AND lower(name) = ?", [name.physical_schema, name.table]
        found = self.rows(
            "SELECT schema_name, name, kind, comment FROM ("
            " SELECT schema_name, table_name AS name, 'MANAGED' AS kind, comment FROM duckdb_tables()"
            " UNION ALL"
            " SELECT schema_name, view_name, 'VIEW', comment FROM duckdb_views() WHERE NOT internal"
            f") WHERE contains(schema_name, '.') AND schema_name NOT LIKE '.%' {where} ORDER BY ALL",
            parameters,
        )
        return [
            Table(name=TableName.stored(schema, table), kind=kind, comment=comment or "")
            for schema, table, kind, comment in found
        ]

    def require_table(self, name: TableName) -> Table:
        """The table, or SqlError that it cannot be found."""
        found = self.tables(name)
        if not found:
            raise table_not_found(*name.parts)
        return found[0]

    def columns(self, name: TableName | None = None) -> list[TableColumn]:
        """The columns of all tables and views, or of one, in order of table and position."""
        where, parameters = ("", [])
        if name is not None:
            where, parameters = "AND schema_name = ? AND lower(table_name) = ?", [name.physical_schema, name.table]
        found = self.rows(
            "SELECT schema_name, table_name, column_name, data_type, column_index, is_nullable, column_default, comment"
            " FROM duckdb_columns() WHERE contains(schema_name, '.') AND NOT internal AND schema_name NOT LIKE '.%'"
            f" {where} ORDER BY schema_name, table_name, column_index",
            parameters,
        )
        positions: dict[TableName, int] = {}
        columns = []
        for schema, table, column, data_type, _, nullable, default, comment in found:
            owner = TableName.stored(schema, table)
            positions[owner] = positions.get(owner, 0) + 1
            columns.append(
                TableColumn(
                    table=owner,
                    name=column,
                    type=from_duckdb_name(data_type),
                    position=positions[owner],
                    nullable=nullable,
                    default=default,
                    comment=comment or "",
                )
            )
        return columns


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _relation(data: pa.Table | Path) -> Iterator[pa.Table | pa.RecordBatchReader]:
    """The content as Arrow; files are read by a DuckDB of their own, for the lakehouse reaches no file system."""
    if isinstance(data, pa.Table):
        yield data
        return
    if not data.is_file():
        raise ValueError(f"file {str(data)!r} for a table does not exist")
    with unpacked(data) as plain, duckdb.connect() as reader:
        reader.execute(f"SET TimeZone = '{TIME_ZONE}'")
        yield reader.sql(f"SELECT * FROM {scan(plain)}", params=[str(plain)]).to_arrow_reader()
