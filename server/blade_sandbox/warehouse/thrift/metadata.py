"""The rows of the driver's metadata calls: catalogs, schemas, tables, columns, table types, type info."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService.ttypes import TGetInfoType

from blade_sandbox.warehouse.lake import sql_types
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse, TableColumn

INFO = {
    TGetInfoType.CLI_SERVER_NAME: "Spark SQL",
    TGetInfoType.CLI_DBMS_NAME: "Spark SQL",
    TGetInfoType.CLI_DBMS_VER: "3.5.0",
}
_INTS = ("DATA_TYPE", "COLUMN_SIZE", "DECIMAL_DIGITS", "NUM_PREC_RADIX", "NULLABLE", "ORDINAL_POSITION",
         "SQL_DATA_TYPE", "SQL_DATETIME_SUB", "CHAR_OCTET_LENGTH", "PRECISION")  # fmt: skip
_TYPES = {**dict.fromkeys(_INTS, pa.int32()), "BUFFER_LENGTH": pa.int8(), "SOURCE_DATA_TYPE": pa.int16()}


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table(
        [pa.array(column, _TYPES.get(name, pa.string())) for name, column in zip(names, columns, strict=True)],
        names=list(names),
    )


def _like(pattern: str | None) -> Callable[[str], bool]:
    """A JDBC pattern: ``%`` any text, ``_`` any character, backslash escapes; None or empty: everything."""
    if not pattern:
        return lambda name: True
    parts = []
    for escaped, char in re.findall(r"(\\.)|(.)", pattern, re.DOTALL):
        parts.append(re.escape(escaped[1]) if escaped else {"%": ".*", "_": "."}.get(char, re.escape(char)))
    regex = re.compile("".join(parts), re.IGNORECASE)
    return lambda name: regex.fullmatch(name) is not None


def catalogs(lakehouse: Lakehouse) -> pa.Table:
    """GetCatalogs: ``TABLE_CAT``."""
    return _table(["TABLE_CAT"], [(catalog,) for catalog in [*lakehouse.catalogs(), "system"]])


def schemas(lakehouse: Lakehouse, catalog: str | None, schema: str | None) -> pa.Table:
    """GetSchemas, by JDBC patterns."""
    in_catalog, in_schema = _like(catalog), _like(schema)
    rows = [
        (name, owner)
        for owner in lakehouse.catalogs()
        for name in sorted([*lakehouse.schemas(owner), "information_schema"])
        if in_catalog(owner) and in_schema(name)
    ]
    return _table(["TABLE_SCHEM", "TABLE_CATALOG"], rows)


def tables(
    lakehouse: Lakehouse, catalog: str | None, schema: str | None, table: str | None, kinds: Sequence[str] | None
) -> pa.Table:
    """GetTables, by JDBC patterns and kinds (``TABLE``, ``VIEW``)."""
    matches = [_like(catalog), _like(schema), _like(table)]
    rows = []
    for found in lakehouse.tables():
        kind = "VIEW" if found.kind == "VIEW" else "TABLE"
        if kinds and kind not in {wanted.upper() for wanted in kinds}:
            continue
        if all(match(part) for match, part in zip(matches, found.name.parts, strict=True)):
            rows.append((*found.name.parts, kind, found.comment, None, None, None, None, None))
    names = ["TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE", "REMARKS", "TYPE_CAT", "TYPE_SCHEM", "TYPE_NAME"]
    return _table([*names, "SELF_REFERENCING_COL_NAME", "REF_GENERATION"], rows)


def columns(
    lakehouse: Lakehouse, catalog: str | None, schema: str | None, table: str | None, column: str | None
) -> pa.Table:
    """GetColumns, by JDBC patterns, in order of table and position."""
    matches = [_like(catalog), _like(schema), _like(table)]
    in_column = _like(column)
    rows = [
        _column_row(found)
        for found in lakehouse.columns()
        if all(match(part) for match, part in zip(matches, found.table.parts, strict=True)) and in_column(found.name)
    ]
    names = ["TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "COLUMN_SIZE"]
    names += ["BUFFER_LENGTH", "DECIMAL_DIGITS", "NUM_PREC_RADIX", "NULLABLE", "REMARKS", "COLUMN_DEF"]
    names += ["SQL_DATA_TYPE", "SQL_DATETIME_SUB", "CHAR_OCTET_LENGTH", "ORDINAL_POSITION", "IS_NULLABLE"]
    names += ["SCOPE_CATALOG", "SCOPE_SCHEMA", "SCOPE_TABLE", "SOURCE_DATA_TYPE", "IS_AUTO_INCREMENT"]
    return _table(names, rows)


def _column_row(column: TableColumn) -> tuple[Any, ...]:
    arrow = column.type.arrow
    size: int | None = None
    digits: int | None = None
    if pa.types.is_decimal(arrow):
        size, digits = arrow.precision, arrow.scale
    elif pa.types.is_primitive(arrow):
        size, digits = max(1, arrow.bit_width // 8), 0
    nullable = ("YES", 1) if column.nullable else ("NO", 0)
    return (
        *column.table.parts, column.name, column.type.java, column.type.sql, size,
        None, digits, 10 if digits is not None else None, nullable[1], column.comment, column.default,
        None, None, None, column.position - 1, nullable[0],
        None, None, None, None, "NO",
    )  # fmt: skip


def table_types() -> pa.Table:
    """GetTableTypes."""
    return _table(["TABLE_TYPE"], [("TABLE",), ("VIEW",)])


def type_info() -> pa.Table:
    """GetTypeInfo."""
    found = [
        sql_types.BOOLEAN, sql_types.TINYINT, sql_types.SMALLINT, sql_types.INT, sql_types.BIGINT, sql_types.FLOAT,
        sql_types.DOUBLE, sql_types.decimal(38, 18), sql_types.STRING, sql_types.BINARY, sql_types.DATE,
        sql_types.TIMESTAMP, sql_types.TIMESTAMP_NTZ, sql_types.VOID,
    ]  # fmt: skip
    return _table(["TYPE_NAME", "DATA_TYPE", "PRECISION"], [(kind.base.upper(), kind.java, None) for kind in found])


def functions() -> pa.Table:
    """GetFunctions: none are listed."""
    names = ["FUNCTION_CAT", "FUNCTION_SCHEM", "FUNCTION_NAME", "REMARKS", "FUNCTION_TYPE", "SPECIFIC_NAME"]
    return _table(names, [])


def primary_keys() -> pa.Table:
    """GetPrimaryKeys: none are kept."""
    return _table(["TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "COLUMN_NAME", "KEY_SEQ", "PK_NAME"], [])


def cross_reference() -> pa.Table:
    """GetCrossReference: none are kept."""
    return _table(
        ["PKTABLE_CAT", "PKTABLE_SCHEM", "PKTABLE_NAME", "PKCOLUMN_NAME", "FKTABLE_NAME", "FKCOLUMN_NAME"], []
    )
