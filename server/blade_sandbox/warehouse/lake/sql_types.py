"""Column types: DuckDB's -> Databricks' name, Thrift type id and Arrow type.

The Arrow types are those a real warehouse sends: timestamps in microseconds, decimals as decimal128, integers of
the declared width. Types Databricks lacks (unsigned, HUGEINT, TIME, UUID, ENUM) become the nearest it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa
from databricks.sql.thrift_api.TCLIService.ttypes import TTypeId

TIME_ZONE = "Etc/UTC"


@dataclass(frozen=True, kw_only=True)
class SqlType:
    """One Databricks type.

    Attributes:
        name: as DESCRIBE prints it, in lower case: ``decimal(10,2)``, ``array<int>``.
        thrift: the ``TTypeId`` of a column of this type.
        arrow: the Arrow type when the client takes native types.
        java: ``java.sql.Types`` code, for the metadata calls.
        sql: as SQL spells it: ``STRUCT<name: STRING, age: INT>``.
    """

    name: str
    thrift: int
    arrow: pa.DataType
    java: int
    sql: str

    @property
    def base(self) -> str:
        """``decimal`` of ``decimal(10,2)``, ``array`` of ``array<int>``."""
        return self.name.split("(")[0].split("<")[0]

    @property
    def is_complex(self) -> bool:
        """An array, map or struct."""
        return self.base in ("array", "map", "struct")


def _type(name: str, thrift: int, arrow: pa.DataType, java: int, sql: str | None = None) -> SqlType:
    return SqlType(name=name, thrift=thrift, arrow=arrow, java=java, sql=sql or name.upper())


STRING = _type("string", TTypeId.STRING_TYPE, pa.string(), 12)
BIGINT = _type("bigint", TTypeId.BIGINT_TYPE, pa.int64(), -5)
INT = _type("int", TTypeId.INT_TYPE, pa.int32(), 4)
SMALLINT = _type("smallint", TTypeId.SMALLINT_TYPE, pa.int16(), 5)
TINYINT = _type("tinyint", TTypeId.TINYINT_TYPE, pa.int8(), -6)
BOOLEAN = _type("boolean", TTypeId.BOOLEAN_TYPE, pa.bool_(), 16)
FLOAT = _type("float", TTypeId.FLOAT_TYPE, pa.float32(), 6)
DOUBLE = _type("double", TTypeId.DOUBLE_TYPE, pa.float64(), 8)
BINARY = _type("binary", TTypeId.BINARY_TYPE, pa.binary(), -2)
DATE = _type("date", TTypeId.DATE_TYPE, pa.date32(), 91)
TIMESTAMP = _type("timestamp", TTypeId.TIMESTAMP_TYPE, pa.timestamp("us", tz=TIME_ZONE), 93)
TIMESTAMP_NTZ = _type("timestamp_ntz", TTypeId.TIMESTAMP_TYPE, pa.timestamp("us"), 93)
# A warehouse describes columns of these two as strings; what tells a VARIANT is the name in the Arrow schema.
VOID = _type("void", TTypeId.STRING_TYPE, pa.null(), 0)
VARIANT = _type("variant", TTypeId.STRING_TYPE, pa.string(), 1111)
INTERVAL = _type("interval day to second", TTypeId.INTERVAL_DAY_TIME_TYPE, pa.string(), 12)

_SCALARS = {
    "boolean": BOOLEAN,
    "tinyint": TINYINT,
    "smallint": SMALLINT,
    "utinyint": SMALLINT,
    "integer": INT,
    "usmallint": INT,
    "bigint": BIGINT,
    "uinteger": BIGINT,
    "hugeint": BIGINT,
    "float": FLOAT,
    "double": DOUBLE,
    "varchar": STRING,
    "uuid": STRING,
    "enum": STRING,
    "time": STRING,
    "time_ns": STRING,
    "time with time zone": STRING,
    "bit": STRING,
    "blob": BINARY,
    "date": DATE,
    "timestamp with time zone": TIMESTAMP,
    "timestamp": TIMESTAMP_NTZ,
    "timestamp_s": TIMESTAMP_NTZ,
    "timestamp_ms": TIMESTAMP_NTZ,
    "timestamp_ns": TIMESTAMP_NTZ,
    "interval": INTERVAL,
    "null": VOID,
    "variant": VARIANT,
}


def decimal(precision: int, scale: int) -> SqlType:
    """The type ``decimal(precision,scale)``."""
    return _type(f"decimal({precision},{scale})", TTypeId.DECIMAL_TYPE, pa.decimal128(precision, scale), 3)


def array(element: SqlType) -> SqlType:
    """The type ``array<element>``."""
    return _type(f"array<{element.name}>", TTypeId.ARRAY_TYPE, pa.list_(element.arrow), 2003, f"ARRAY<{element.sql}>")


def mapping(key: SqlType, value: SqlType) -> SqlType:
    """The type ``map<key,value>``."""
    return _type(
        f"map<{key.name},{value.name}>",
        TTypeId.MAP_TYPE,
        pa.map_(key.arrow, value.arrow),
        2000,
        f"MAP<{key.sql}, {value.sql}>",
    )


def struct(fields: Sequence[tuple[str, SqlType]]) -> SqlType:
    """The type ``struct<name:type,...>``."""
    return _type(
        "struct<" + ",".join(f"{name}:{child.name}" for name, child in fields) + ">",
        TTypeId.STRUCT_TYPE,
        pa.struct([(name, child.arrow) for name, child in fields]),
        2002,
        "STRUCT<" + ", ".join(f"{name}: {child.sql}" for name, child in fields) + ">",
    )


def in_zone(sql_type: SqlType, zone: str) -> SqlType:
    """The type as a session in this time zone sends it: a timestamp is shown in the zone."""
    return replace(TIMESTAMP, arrow=pa.timestamp("us", tz=zone)) if sql_type == TIMESTAMP else sql_type


def from_duckdb(duckdb_type: Any) -> SqlType:
    """The Databricks type for a ``duckdb.sqltypes.DuckDBPyType``.

    Raises:
        ValueError: the type has no counterpart (UNION).
    """
    kind = duckdb_type.id
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "ubigint":
        return decimal(20, 0)
    if kind == "uhugeint":
        return decimal(38, 0)
    if kind == "decimal":
        children = dict(duckdb_type.children)
        return decimal(children["precision"], children["scale"])
    if kind in ("list", "array"):
        return array(from_duckdb(dict(duckdb_type.children)["child"]))
    if kind == "map":
        children = {name: from_duckdb(child) for name, child in duckdb_type.children}
        return mapping(children["key"], children["value"])
    if kind == "struct":
        return struct([(name, from_duckdb(child)) for name, child in duckdb_type.children])
    raise ValueError(f"DuckDB type {duckdb_type} has no Databricks counterpart")


@lru_cache(maxsize=1024)
def from_duckdb_name(name: str) -> SqlType:
    """The same for a type's text as ``duckdb_columns()`` gives it: ``STRUCT(a INTEGER)[]``."""
    import duckdb

    return from_duckdb(duckdb.sqltype(name))


def from_arrow(arrow_type: pa.DataType) -> SqlType:
    """The Databricks type of a column built here (metadata results): strings, integers, timestamps, booleans."""
    for candidate in (STRING, BIGINT, INT, SMALLINT, TINYINT, BOOLEAN, DOUBLE, DATE, TIMESTAMP, TIMESTAMP_NTZ):
        if candidate.arrow == arrow_type:
            return candidate
    if pa.types.is_list(arrow_type):
        return array(from_arrow(arrow_type.value_type))
    if pa.types.is_map(arrow_type):
        return mapping(from_arrow(arrow_type.key_type), from_arrow(arrow_type.item_type))
    if pa.types.is_struct(arrow_type):
        return struct([(child.name, from_arrow(child.type)) for child in arrow_type])
    raise ValueError(f"no Databricks type for Arrow type {arrow_type}")
