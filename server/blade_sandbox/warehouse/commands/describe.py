"""DESCRIBE a table, its history, its detail, or a query, with the columns Databricks answers."""

from __future__ import annotations

import datetime

import duckdb
import pyarrow as pa

from blade_sandbox.warehouse.commands.show import answer, full, strings
from blade_sandbox.warehouse.errors import catalog_not_found, column_not_found, needs_a_table, syntax_error
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse, TableColumn
from blade_sandbox.warehouse.lake.sqltypes import TIMESTAMP, from_duckdb
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.statements import Action, Query
from blade_sandbox.warehouse.words import Words


def parse(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    """The action of a DESCRIBE statement, its first word already read.

    Raises:
        SqlError: wrong syntax, or a DESCRIBE the sandbox lacks.
    """
    if words.accept("HISTORY"):
        return _history(words, session, lakehouse)
    if words.accept("DETAIL"):
        return _detail(words, session, lakehouse)
    if words.accept("CATALOG"):
        return _catalog(words, lakehouse)
    if words.accept_any("SCHEMA", "DATABASE"):
        return _schema(words, session, lakehouse)
    first = words.peek()
    if words.accept("QUERY") or (first is not None and first.text.upper() in ("SELECT", "WITH", "VALUES")):
        return _query(words.rest(), session, lakehouse)
    words.accept("TABLE")
    extended = words.accept_any("EXTENDED", "FORMATTED")
    table = full(session, words.name())
    column = words.name(parts=1)[0] if words.peek() is not None else None
    words.end()
    return answer(lambda: _table(lakehouse, session, table, column, extended))


def _query(text: str, session: Session, lakehouse: Lakehouse) -> Action:
    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        # Late: the translation of any statement comes back here for those that are commands.
        from blade_sandbox.warehouse.sql.dialect import translate

        statement = translate(text, (), session, lakehouse)
        if not isinstance(statement, Query):
            raise syntax_error(text.split(maxsplit=1)[0] if text else "")
        for name, table in statement.relations.items():
            cursor.register(name, table)
        relation = cursor.sql(statement.sql)
        types = [from_duckdb(kind).name for kind in relation.types]
        rows = [(name, kind, None) for name, kind in zip(relation.columns, types, strict=True)]
        return strings(["col_name", "data_type", "comment"], rows)

    return Action(run=run)


def _table(lakehouse: Lakehouse, session: Session, name: TableName, wanted: str | None, extended: bool) -> pa.Table:
    found = lakehouse.require_table(name)
    columns = lakehouse.columns(name)
    if wanted is not None:
        return _column(columns, wanted)
    rows: list[tuple[str, str, str | None]] = [
        (column.name, column.type.name, column.comment or None) for column in columns
    ]
    if extended:
        rows += [
            ("", "", ""),
            ("# Detailed Table Information", "", ""),
            ("Catalog", name.catalog, ""),
            ("Database", name.schema, ""),
            ("Table", name.table, ""),
            ("Owner", "sandbox", ""),
            ("Type", found.kind, ""),
            ("Comment", found.comment, ""),
            ("Provider", "delta", ""),
        ]
    return strings(["col_name", "data_type", "comment"], rows)


def _column(columns: list[TableColumn], wanted: str) -> pa.Table:
    for column in columns:
        if column.name.lower() == wanted.lower():
            rows = [("col_name", column.name), ("data_type", column.type.name), ("comment", column.comment or "NULL")]
            return strings(["info_name", "info_value"], rows)
    raise column_not_found(wanted, [column.name for column in columns])


def _history(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    name = full(session, words.name())
    limit = None
    if words.accept("LIMIT"):
        text = words.next().text
        if not text.isdigit():
            raise syntax_error(text)
        limit = int(text)
    words.end()

    def build() -> pa.Table:
        if lakehouse.require_table(name).kind == "VIEW":
            raise needs_a_table("DESCRIBE HISTORY", *name.parts)
        cursor = lakehouse.cursor()
        found = lakehouse.history.versions(cursor, name)[:limit]
        cursor.close()
        text = pa.string()
        return pa.table(
            {
                "version": pa.array([entry.version for entry in found], pa.int64()),
                "timestamp": pa.array([entry.timestamp for entry in found], TIMESTAMP.arrow),
                "userId": pa.array(["sandbox" for _ in found], text),
                "userName": pa.array(["sandbox" for _ in found], text),
                "operation": pa.array([entry.operation for entry in found], text),
                "operationParameters": pa.array([[] for _ in found], pa.map_(text, text)),
                "job": pa.array([None for _ in found], text),
                "notebook": pa.array([None for _ in found], text),
                "clusterId": pa.array([None for _ in found], text),
                "readVersion": pa.array([entry.version - 1 if entry.version else None for entry in found], pa.int64()),
                "isolationLevel": pa.array(["WriteSerializable" for _ in found], text),
                "isBlindAppend": pa.array([False for _ in found], pa.bool_()),
                "operationMetrics": pa.array([[] for _ in found], pa.map_(text, text)),
                "userMetadata": pa.array([None for _ in found], text),
                "engineInfo": pa.array(["BLADE sandbox warehouse" for _ in found], text),
            }
        )

    return answer(build)


def _detail(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    name = full(session, words.name())
    words.end()

    def build() -> pa.Table:
        lakehouse.require_table(name)
        cursor = lakehouse.cursor()
        versions = lakehouse.history.versions(cursor, name)
        cursor.close()
        changed = versions[0].timestamp if versions else datetime.datetime.now(datetime.UTC)
        created = versions[-1].timestamp if versions else changed
        return pa.table(
            {
                "format": pa.array(["delta"]),
                "id": pa.array([".".join(name.parts)]),
                "name": pa.array([".".join(name.parts)]),
                "description": pa.array([None], pa.string()),
                "location": pa.array([""]),
                "createdAt": pa.array([created], TIMESTAMP.arrow),
                "lastModified": pa.array([changed], TIMESTAMP.arrow),
                "partitionColumns": pa.array([[]], pa.list_(pa.string())),
                "numFiles": pa.array([1], pa.int64()),
                "sizeInBytes": pa.array([0], pa.int64()),
                "minReaderVersion": pa.array([1], pa.int32()),
                "minWriterVersion": pa.array([2], pa.int32()),
            }
        )

    return answer(build)


def _catalog(words: Words, lakehouse: Lakehouse) -> Action:
    words.accept("EXTENDED")
    (name,) = words.name(parts=1)
    words.end()

    def build() -> pa.Table:
        if name.lower() not in lakehouse.catalogs():
            raise catalog_not_found(name)
        return strings(
            ["info_name", "info_value"], [("Catalog Name", name.lower()), ("Comment", ""), ("Owner", "sandbox")]
        )

    return answer(build)


def _schema(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    words.accept("EXTENDED")
    parts = words.name(parts=2)
    words.end()
    catalog, schema = parts if len(parts) == 2 else (session.catalog, parts[0])

    def build() -> pa.Table:
        lakehouse.require_schema(catalog, schema)
        rows = [
            ("Catalog Name", catalog.lower()),
            ("Namespace Name", schema.lower()),
            ("Comment", ""),
            ("Owner", "sandbox"),
        ]
        return strings(["database_description_item", "database_description_value"], rows)

    return answer(build)
