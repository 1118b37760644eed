"""SHOW CATALOGS, SCHEMAS, TABLES, VIEWS, COLUMNS, CREATE TABLE, TBLPROPERTIES, with the columns Databricks answers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa

from blade_sandbox.warehouse.answers import answering, settings_table, text_table
from blade_sandbox.warehouse.errors import catalog_not_found, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_metadata import property_name
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Command


def show(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """The command of a SHOW statement, its first word already read.

    Raises:
        SqlError: wrong syntax, or a SHOW the sandbox lacks.
    """
    if reader.accept("CATALOGS"):
        matches = _pattern(reader)
        return answering(
            lambda: text_table(["catalog"], [(c,) for c in [*lakehouse.catalogs(), "system"] if matches(c)])
        )
    if reader.accept_any("SCHEMAS", "DATABASES"):
        return _schemas(reader, session, lakehouse)
    if reader.accept("TABLES"):
        return _tables(reader, session, lakehouse)
    if reader.accept("VIEWS"):
        return _views(reader, session, lakehouse)
    if reader.accept("COLUMNS"):
        return _columns(reader, session, lakehouse)
    if reader.accept("CREATE", "TABLE"):
        return _create_table(reader, session, lakehouse)
    if reader.accept("TBLPROPERTIES"):
        return _properties(reader, session, lakehouse)
    raise unsupported(f"SHOW {reader.rest()}")


def _pattern(reader: TokenReader) -> Callable[[str], bool]:
    """[LIKE] 'a*|b*': a star for any text, a bar for alternatives, any case."""
    reader.accept("LIKE")
    if reader.peek() is None:
        return lambda name: True
    alternatives = [re.escape(part.strip()).replace(r"\*", ".*") for part in reader.string().split("|")]
    reader.end()
    regex = re.compile("|".join(f"(?:{part})" for part in alternatives), re.IGNORECASE)
    return lambda name: regex.fullmatch(name) is not None


def _scope(reader: TokenReader, session: Session) -> tuple[str, str]:
    if not reader.accept_any("FROM", "IN"):
        return session.catalog, session.schema
    return session.full_schema(reader.name(parts=2))


def _schemas(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    catalog = reader.name(parts=1)[0].lower() if reader.accept_any("FROM", "IN") else session.catalog
    matches = _pattern(reader)

    def build() -> pa.Table:
        if catalog not in lakehouse.catalogs():
            raise catalog_not_found(catalog)
        found = sorted([*lakehouse.schemas(catalog), "information_schema"])
        return text_table(["databaseName"], [(schema,) for schema in found if matches(schema)])

    return answering(build)


def _tables(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    catalog, schema = _scope(reader, session)
    matches = _pattern(reader)

    def build() -> pa.Table:
        lakehouse.require_schema(catalog, schema)
        listed = [
            table.name for table in lakehouse.tables() if (table.name.catalog, table.name.schema) == (catalog, schema)
        ]
        found = [(name.schema, name.table, False) for name in listed if matches(name.table)]
        found += [("", view, True) for view in sorted(session.temp_views) if matches(view)]
        return pa.table(
            {
                "database": pa.array([row[0] for row in found], pa.string()),
                "tableName": pa.array([row[1] for row in found], pa.string()),
                "isTemporary": pa.array([row[2] for row in found], pa.bool_()),
            }
        )

    return answering(build)


def _views(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    catalog, schema = _scope(reader, session)
    matches = _pattern(reader)

    def build() -> pa.Table:
        lakehouse.require_schema(catalog, schema)
        found = [
            (table.name.schema, table.name.table, False)
            for table in lakehouse.tables()
            if table.kind == "VIEW" and (table.name.catalog, table.name.schema) == (catalog, schema)
        ]
        found += [("", view, True) for view in sorted(session.temp_views)]
        found = [row for row in found if matches(row[1])]
        return pa.table(
            {
                "namespace": pa.array([row[0] for row in found], pa.string()),
                "viewName": pa.array([row[1] for row in found], pa.string()),
                "isTemporary": pa.array([row[2] for row in found], pa.bool_()),
                "isMaterialized": pa.array([False for _ in found], pa.bool_()),
            }
        )

    return answering(build)


def _columns(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    if not reader.accept_any("FROM", "IN"):
        reader.end()
        raise unsupported("SHOW COLUMNS without a table")
    parts = reader.name()
    if reader.accept_any("FROM", "IN"):
        parts = (*reader.name(parts=2), parts[-1])
    reader.end()
    table = session.full_name(parts)

    def build() -> pa.Table:
        lakehouse.require_table(table)
        return text_table(["col_name"], [(column.name,) for column in lakehouse.columns(table)])

    return answering(build)


def _properties(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """All properties of a table, or the one in brackets."""
    table = session.full_name(reader.name())
    wanted = None
    if reader.accept("("):
        parts = reader.try_name(parts=9)
        wanted = property_name(reader.string() if parts is None else ".".join(parts))
        reader.expect(")")
    reader.end()

    def build() -> pa.Table:
        lakehouse.require_table(table)
        cursor = lakehouse.cursor()
        metadata = lakehouse.history.metadata.of(cursor, table)
        cursor.close()
        versions = {"delta.minReaderVersion": "1", "delta.minWriterVersion": "4" if metadata.records_changes else "2"}
        found = {**versions, **metadata.properties}
        if wanted is None:
            return settings_table(sorted(found.items()))
        missing = f"Table {'.'.join(table.parts)} does not have property: {wanted}"
        return settings_table([(wanted, found.get(wanted, missing))])

    return answering(build)


def _create_table(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    table = session.full_name(reader.name())
    reader.end()

    def build() -> pa.Table:
        lakehouse.require_table(table)
        columns = ",\n".join(
            f"  {column.name} {column.type.name.upper()}" + ("" if column.nullable else " NOT NULL")
            for column in lakehouse.columns(table)
        )
        return text_table(["createtab_stmt"], [(f"CREATE TABLE {'.'.join(table.parts)} (\n{columns})\nUSING delta\n",)])

    return answering(build)
