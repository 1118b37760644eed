"""DuckDB macros for what Databricks computes differently: casts, division, a few functions DuckDB lacks.

``typeof`` is folded when DuckDB binds a statement, so each macro costs only the branch for its argument's type.
"""

from __future__ import annotations

import duckdb

from blade_sandbox.warehouse.errors import DIVIDE_BY_ZERO, SqlError

_INTEGERS = "('TINYINT','SMALLINT','INTEGER','BIGINT','HUGEINT','UTINYINT','USMALLINT','UINTEGER','UBIGINT','BOOLEAN')"
_INTEGRAL = """
    CASE
    WHEN x IS NULL THEN NULL
    WHEN typeof(x) IN {integers} THEN TRY_CAST(x AS HUGEINT)
    WHEN typeof(x) IN ('FLOAT', 'DOUBLE') THEN {cast}(trunc(TRY_CAST(x AS DOUBLE)) AS HUGEINT)
    WHEN starts_with(typeof(x), 'DECIMAL') THEN CAST(split_part(CAST(x AS VARCHAR), '.', 1) AS HUGEINT)
    WHEN starts_with(typeof(x), 'TIMESTAMP') THEN CAST(floor(epoch(TRY_CAST(x AS TIMESTAMP))) AS HUGEINT)
    WHEN regexp_full_match(trim(CAST(x AS VARCHAR)), '[+-]?[0-9]+') THEN {cast}(CAST(x AS VARCHAR) AS HUGEINT)
    ELSE {otherwise}
    END"""


def _raised(error: SqlError) -> str:
    return "error('" + str(error).replace("'", "''") + "')"


def _cast_error() -> str:
    return "error('Conversion Error: Could not convert string ''' || CAST(x AS VARCHAR) || ''' to ' || target)"


_DIVIDE = _raised(SqlError("DIVIDE_BY_ZERO", "22012", DIVIDE_BY_ZERO))

MACROS = {
    "sandbox_integral(x, target)": _INTEGRAL.format(integers=_INTEGERS, cast="CAST", otherwise=_cast_error()),
    "sandbox_try_integral(x, target)": _INTEGRAL.format(integers=_INTEGERS, cast="TRY_CAST", otherwise="NULL"),
    "sandbox_string(x)": """
        CASE
        WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE' THEN CAST(TRY_CAST(x AS TIMESTAMP) AS VARCHAR)
        WHEN typeof(x) = 'BLOB' THEN decode(TRY_CAST(x AS BLOB))
        ELSE CAST(x AS VARCHAR)
        END""",
    "sandbox_binary(x)": "CASE WHEN typeof(x) = 'BLOB' THEN TRY_CAST(x AS BLOB) ELSE encode(CAST(x AS VARCHAR)) END",
    "sandbox_divisor(x)": f"CASE WHEN x = 0 THEN {_DIVIDE} ELSE x END",
    "sandbox_typeof(x)": """
        CASE typeof(x) WHEN 'INTEGER' THEN 'int' WHEN 'VARCHAR' THEN 'string' WHEN 'BLOB' THEN 'binary'
        WHEN 'TIMESTAMP WITH TIME ZONE' THEN 'timestamp' WHEN 'TIMESTAMP' THEN 'timestamp_ntz'
        WHEN 'HUGEINT' THEN 'bigint' WHEN '"NULL"' THEN 'void' ELSE lower(typeof(x)) END""",
    "pmod(a, b)": "((a % b) + b) % b",
    "nanvl(a, b)": "CASE WHEN isnan(a) THEN b ELSE a END",
    "timestamp_seconds(x)": "to_timestamp(x)",
    "timestamp_millis(x)": "CAST(epoch_ms(CAST(x AS BIGINT)) AS TIMESTAMPTZ)",
    "timestamp_micros(x)": "CAST(make_timestamp(CAST(x AS BIGINT)) AS TIMESTAMPTZ)",
    "current_timezone()": "'Etc/UTC'",
    "raise_error(x)": "error('[USER_RAISED_EXCEPTION] ' || x || ' SQLSTATE: P0001')",
    "array_repeat(x, n)": "list_transform(range(n), lambda i : x)",
    "arrays_overlap(a, b)": "list_has_any(a, b)",
}


def install(cursor: duckdb.DuckDBPyConnection) -> None:
    """Create the macros, or replace those of an older version in a database file."""
    for signature, body in MACROS.items():
        cursor.execute(f"CREATE OR REPLACE MACRO {signature} AS {body}")
