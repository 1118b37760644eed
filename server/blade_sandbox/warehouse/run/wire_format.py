"""Record batches in the form one client asked for.

A client says in ``TSparkArrowTypes`` what it takes as Arrow and what as text; this module turns DuckDB's batches into
exactly that.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from blade_sandbox.warehouse.lake.duckdb_errors import from_duckdb
from blade_sandbox.warehouse.lake.sql_types import VOID, SqlType


@dataclass(frozen=True, kw_only=True)
class WireFormat:
    """What the client can read; the defaults are those of a client that announces nothing.

    Attributes:
        arrow: Arrow batches; otherwise Thrift columns.
        links: results may be files to download (CloudFetch).
        lz4: batches and files are LZ4 frames.
        timestamps, decimals, nested, nulls: sent as Arrow types; otherwise as text. Intervals are always text.
    """

    arrow: bool = False
    links: bool = False
    lz4: bool = False
    timestamps: bool = False
    decimals: bool = False
    nested: bool = False
    nulls: bool = False

    @classmethod
    def of(cls, request: ttypes.TExecuteStatementReq) -> WireFormat:
        """Read the flags of an ExecuteStatement request."""
        native = request.useArrowNativeTypes or ttypes.TSparkArrowTypes()
        arrow = bool(request.canReadArrowResult)
        return cls(
            arrow=arrow,
            links=arrow and bool(request.canDownloadResult),
            lz4=arrow and bool(request.canDecompressLZ4Result),
            timestamps=bool(native.timestampAsArrow),
            decimals=bool(native.decimalAsArrow),
            nested=bool(native.complexTypesAsArrow),
            nulls=bool(native.nullTypeAsArrow),
        )


@dataclass(frozen=True, kw_only=True)
class Column:
    """One result column: its name and Databricks type."""

    name: str
    type: SqlType


def arrow_type(column: Column, wire: WireFormat) -> pa.DataType:
    """The Arrow type this column has on the wire."""
    sql_type = column.type
    as_text = (
        (sql_type.is_complex and not wire.nested)
        or (sql_type.base in ("timestamp", "timestamp_ntz") and not wire.timestamps)
        or (sql_type.base == "decimal" and not wire.decimals)
        or (sql_type == VOID and not wire.nulls)
    )
    return pa.string() if as_text else sql_type.arrow


def arrow_schema(columns: Sequence[Column], wire: WireFormat) -> pa.Schema:
    """The schema of the batches, with the type names in the metadata key the driver looks at."""
    return pa.schema(
        pa.field(
            column.name,
            arrow_type(column, wire),
            metadata={"Spark:DataType:SqlName": column.type.sql},
        )
        for column in columns
    )


def convert(batch: pa.RecordBatch, columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    """One batch from DuckDB in the wire's types.

    Raises:
        SqlError: a value does not fit its Databricks type (a HUGEINT sum above BIGINT).
    """
    arrays = [
        _convert(array, column.type, field.type)
        for array, column, field in zip(batch.columns, columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _convert(array: pa.Array[Any], sql_type: SqlType, target: pa.DataType) -> pa.Array[Any]:
    if array.type == target:
        return array
    if pa.types.is_interval(array.type):
        return pa.array([_interval(value) for value in array.to_pylist()], pa.string())
    if target == pa.string() and sql_type.name != "string" and not pa.types.is_dictionary(array.type):
        return pa.array([_text(value, sql_type) for value in array.to_pylist()], pa.string())
    try:
        return array.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        if pa.types.is_decimal(array.type):
            raise from_duckdb(OverflowError("Overflow in conversion to BIGINT")) from exc
        return pa.array(array.to_pylist(), target)


def _text(value: Any, sql_type: SqlType) -> str | None:
    if value is None:
        return None
    if sql_type.is_complex:
        return json.dumps(_jsonable(value, sql_type.arrow), separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, datetime.datetime):
        text = value.strftime("%Y-%m-%d %H:%M:%S.%f")
        return text.rstrip("0").rstrip(".")
    return str(value)


def _jsonable(value: Any, kind: pa.DataType) -> Any:
    """A nested value as Spark's ``to_json`` renders it: decimals as numbers, binary as base64."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _jsonable(value[kind.field(i).name], kind.field(i).type) for i in range(len(kind))}
    if pa.types.is_map(kind):
        return {str(key): _jsonable(item, kind.item_type) for key, item in value}
    if pa.types.is_list(kind):
        return [_jsonable(item, kind.value_type) for item in value]
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def _interval(value: Any) -> str | None:
    """``1-2`` for years and months, ``1 02:03:04.000000000`` for days and time, as the warehouse's text."""
    if value is None:
        return None
    months, days, nanoseconds = value
    if months and not days and not nanoseconds:
        sign = "-" if months < 0 else ""
        return f"{sign}{abs(months) // 12}-{abs(months) % 12}"
    total = days * 86_400_000_000_000 + nanoseconds
    sign, total = ("-" if total < 0 else ""), abs(total)
    seconds, fraction = divmod(total, 1_000_000_000)
    text = f"{sign}{seconds // 86400} {seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:09}"
    return f"{months // 12}-{months % 12} {text}" if months else text
