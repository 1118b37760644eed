"""SHOW CATALOGS, SCHEMAS, TABLES, VIEWS, COLUMNS, CREATE TABLE, with the columns Databricks answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from blade_sandbox.warehouse.errors import catalog_not_found, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.statements import Action
from blade_sandbox.warehouse.words import Words


def parse(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    """The action of a SHOW statement, its first word already read.

    Raises:
        SqlError: wrong syntax, or a SHOW the sandbox lacks.
    """
    if words.accept("CATALOGS"):
        matches = _pattern(words)
        return answer(lambda: strings(["catalog"], [(c,) for c in [*lakehouse.catalogs(), "system"] if matches(c)]))
    if words.accept_any("SCHEMAS", "DATABASES"):
        return _schemas(words, session, lakehouse)
    if words.accept("TABLES"):
        return _tables(words, session, lakehouse)
    if words.accept("VIEWS"):
        return _views(words, session, lakehouse)
    if words.accept("COLUMNS"):
        return _columns(words, session, lakehouse)
    if words.accept("CREATE", "TABLE"):
        return _create_table(words, session, lakehouse)
    if words.accept("TBLPROPERTIES"):
        table = full(session, words.name())
        return answer(lambda: (lakehouse.require_table(table), pairs([("delta.minReaderVersion", "1")]))[1])
    raise unsupported(f"SHOW {words.rest()}")


def answer(build: Callable[[], pa.Table]) -> Action:
    """An action that only looks."""
    return Action(run=lambda cursor: build())


def strings(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> pa.Table:
    """A table of string columns."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table([pa.array(column, pa.string()) for column in columns], names=list(names))


def pairs(rows: Sequence[tuple[str, str]]) -> pa.Table:
    """The key/value answer of SET and SHOW TBLPROPERTIES."""
    return strings(["key", "value"], rows)


def full(session: Session, parts: tuple[str, ...]) -> TableName:
    """The full name of a table named in this session."""
    head = (session.catalog, session.schema)[: 3 - len(parts)]
    return TableName.of(*head, *parts)


def _pattern(words: Words) -> Callable[[str], bool]:
    """[LIKE] 'a*|b*': a star for any text, a bar for alternatives, any case."""
    words.accept("LIKE")
    if words.peek() is None:
        return lambda name: True
    alternatives = [re.escape(part.strip()).replace(r"\*", ".*") for part in words.string().split("|")]
    words.end()
    regex = re.compile("|".join(f"(?:{part})" for part in alternatives), re.IGNORECASE)
    return lambda name: regex.fullmatch(name) is not None


def _scope(words: Words, session: Session) -> tuple[str, str]:
    if not words.accept_any("FROM", "IN"):
        return session.catalog, session.schema
    parts = words.name(parts=2)
    catalog, schema = parts if len(parts) == 2 else (session.catalog, parts[0])
    return catalog.lower(), schema.lower()


def _schemas(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    catalog = words.name(parts=1)[0].lower() if words.accept_any("FROM", "IN") else session.catalog
    matches = _pattern(words)

    def build() -> pa.Table:
        if catalog not in lakehouse.catalogs():
            raise catalog_not_found(catalog)
        found = sorted([*lakehouse.schemas(catalog), "information_schema"])
        return strings(["databaseName"], [(schema,) for schema in found if matches(schema)])

    return answer(build)


def _tables(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    catalog, schema = _scope(words, session)
    matches = _pattern(words)

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

    return answer(build)


def _views(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    catalog, schema = _scope(words, session)
    matches = _pattern(words)

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

    return answer(build)


def _columns(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    if not words.accept_any("FROM", "IN"):
        words.end()
        raise unsupported("SHOW COLUMNS without a table")
    parts = words.name()
    if words.accept_any("FROM", "IN"):
        parts = (*words.name(parts=2), parts[-1])
    words.end()
    table = full(session, parts)

    def build() -> pa.Table:
        lakehouse.require_table(table)
        return strings(["col_name"], [(column.name,) for column in lakehouse.columns(table)])

    return answer(build)


def _create_table(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    table = full(session, words.name())
    words.end()

    def build() -> pa.Table:
        lakehouse.require_table(table)
        columns = ",\n".join(
            f"  {column.name} {column.type.name.upper()}" + ("" if column.nullable else " NOT NULL")
            for column in lakehouse.columns(table)
        )
        return strings(["createtab_stmt"], [(f"CREATE TABLE {'.'.join(table.parts)} (\n{columns})\nUSING delta\n",)])

    return answer(build)
