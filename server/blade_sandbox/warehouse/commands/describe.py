"""DESCRIBE a catalog, a schema, a table, its history or its detail, with the columns Databricks answers."""

from __future__ import annotations

import datetime

import pyarrow as pa

from blade_sandbox.warehouse.answers import answering, text_table
from blade_sandbox.warehouse.errors import catalog_not_found, column_not_found, needs_a_table
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse, TableColumn
from blade_sandbox.warehouse.lake.sql_types import TIMESTAMP
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Command


def describe(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """The command of a DESCRIBE statement, its first word already read.

    Raises:
        SqlError: wrong syntax, or a DESCRIBE the sandbox lacks.
    """
    if reader.accept("HISTORY"):
        return _history(reader, session, lakehouse)
    if reader.accept("DETAIL"):
        return _detail(reader, session, lakehouse)
    if reader.accept("CATALOG"):
        return _catalog(reader, lakehouse)
    if reader.accept_any("SCHEMA", "DATABASE"):
        return _schema(reader, session, lakehouse)
    reader.accept("TABLE")
    extended = reader.accept_any("EXTENDED", "FORMATTED")
    table = session.full_name(reader.name())
    column = reader.name(parts=1)[0] if reader.peek() is not None else None
    reader.end()
    return answering(lambda: _table(lakehouse, table, column, extended))


def _table(lakehouse: Lakehouse, name: TableName, wanted: str | None, extended: bool) -> pa.Table:
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
            ("Table Properties", f"[{','.join(f'{key}={value}' for key, value in _properties(lakehouse, name))}]", ""),
        ]
    return text_table(["col_name", "data_type", "comment"], rows)


def _properties(lakehouse: Lakehouse, name: TableName) -> list[tuple[str, str]]:
    cursor = lakehouse.cursor()
    try:
        return sorted(lakehouse.history.metadata.of(cursor, name).properties.items())
    finally:
        cursor.close()


def _column(columns: list[TableColumn], wanted: str) -> pa.Table:
    for column in columns:
        if column.name.lower() == wanted.lower():
            rows = [("col_name", column.name), ("data_type", column.type.name), ("comment", column.comment or "NULL")]
            return text_table(["info_name", "info_value"], rows)
    raise column_not_found(wanted, [column.name for column in columns])


def _history(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    name = session.full_name(reader.name())
    limit = reader.number() if reader.accept("LIMIT") else None
    reader.end()

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
                "operationParameters": pa.array(
                    [list(entry.parameters.items()) for entry in found], pa.map_(text, text)
                ),
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

    return answering(build)


def _detail(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    name = session.full_name(reader.name())
    reader.end()

    def build() -> pa.Table:
        lakehouse.require_table(name)
        cursor = lakehouse.cursor()
        versions = lakehouse.history.versions(cursor, name)
        metadata = lakehouse.history.metadata.of(cursor, name)
        cursor.close()
        text = pa.string()
        changed = versions[0].timestamp if versions else datetime.datetime.now(datetime.UTC)
        created = versions[-1].timestamp if versions else changed
        return pa.table(
            {
                "format": pa.array(["delta"]),
                "id": pa.array([metadata.id]),
                "name": pa.array([".".join(name.parts)]),
                "description": pa.array([None], pa.string()),
                "location": pa.array([""]),
                "createdAt": pa.array([created], TIMESTAMP.arrow),
                "lastModified": pa.array([changed], TIMESTAMP.arrow),
                "partitionColumns": pa.array([[]], pa.list_(pa.string())),
                "numFiles": pa.array([1], pa.int64()),
                "sizeInBytes": pa.array([0], pa.int64()),
                "properties": pa.array([sorted(metadata.properties.items())], pa.map_(text, text)),
                "minReaderVersion": pa.array([1], pa.int32()),
                "minWriterVersion": pa.array([4 if metadata.records_changes else 2], pa.int32()),
            }
        )

    return answering(build)


def _catalog(reader: TokenReader, lakehouse: Lakehouse) -> Command:
    reader.accept("EXTENDED")
    (name,) = reader.name(parts=1)
    reader.end()

    def build() -> pa.Table:
        if name.lower() not in lakehouse.catalogs():
            raise catalog_not_found(name)
        return text_table(
            ["info_name", "info_value"], [("Catalog Name", name.lower()), ("Comment", ""), ("Owner", "sandbox")]
        )

    return answering(build)


def _schema(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    reader.accept("EXTENDED")
    catalog, schema = session.full_schema(reader.name(parts=2))
    reader.end()

    def build() -> pa.Table:
        lakehouse.require_schema(catalog, schema)
        rows = [
            ("Catalog Name", catalog),
            ("Namespace Name", schema),
            ("Comment", ""),
            ("Owner", "sandbox"),
        ]
        return text_table(["database_description_item", "database_description_value"], rows)

    return answering(build)
