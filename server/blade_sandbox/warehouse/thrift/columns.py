"""Columns in Thrift's words: how they are described, and their values for a client that reads no Arrow."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from blade_sandbox.warehouse.lake.sql_types import SqlType
from blade_sandbox.warehouse.run.wire_format import Column


def thrift_schema(columns: Sequence[Column]) -> ttypes.TTableSchema:
    """The columns as Thrift describes them, decimals with precision and scale."""
    return ttypes.TTableSchema(
        columns=[
            ttypes.TColumnDesc(columnName=column.name, typeDesc=_type_desc(column.type), position=position, comment="")
            for position, column in enumerate(columns, start=1)
        ]
    )


def _type_desc(sql_type: SqlType) -> ttypes.TTypeDesc:
    qualifiers = None
    if pa.types.is_decimal(sql_type.arrow):
        qualifiers = ttypes.TTypeQualifiers(
            qualifiers={
                "precision": ttypes.TTypeQualifierValue(i32Value=sql_type.arrow.precision),
                "scale": ttypes.TTypeQualifierValue(i32Value=sql_type.arrow.scale),
            }
        )
    entry = ttypes.TPrimitiveTypeEntry(type=sql_type.thrift, typeQualifiers=qualifiers)
    return ttypes.TTypeDesc(types=[ttypes.TTypeEntry(primitiveEntry=entry)])


_COLUMNS = {
    "boolean": ("boolVal", ttypes.TBoolColumn, False),
    "tinyint": ("byteVal", ttypes.TByteColumn, 0),
    "smallint": ("i16Val", ttypes.TI16Column, 0),
    "int": ("i32Val", ttypes.TI32Column, 0),
    "bigint": ("i64Val", ttypes.TI64Column, 0),
    "float": ("doubleVal", ttypes.TDoubleColumn, 0.0),
    "double": ("doubleVal", ttypes.TDoubleColumn, 0.0),
    "binary": ("binaryVal", ttypes.TBinaryColumn, b""),
}


def thrift_columns(table: pa.Table, columns: Sequence[Column]) -> list[ttypes.TColumn]:
    """Rows as Thrift columns, for a client without Arrow and for the metadata calls."""
    result = []
    for column, chunked in zip(columns, table.columns, strict=True):
        values = chunked.to_pylist()
        field, holder, empty = _COLUMNS.get(column.type.base, ("stringVal", ttypes.TStringColumn, ""))
        if field == "stringVal":
            values = [value if value is None else str(value) for value in values]
        nulls = bytearray((len(values) + 7) // 8)
        for row, value in enumerate(values):
            if value is None:
                nulls[row // 8] |= 1 << row % 8
        filled = [empty if value is None else value for value in values]
        result.append(ttypes.TColumn(**{field: holder(values=filled, nulls=bytes(nulls))}))
    return result
