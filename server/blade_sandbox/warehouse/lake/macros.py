"""DuckDB macros for what Databricks computes differently: casts, division, a few functions DuckDB lacks.

``typeof`` is folded when DuckDB binds a statement, so each macro costs only the branch for its argument's type.
"""

from __future__ import annotations

import duckdb

from blade_sandbox.warehouse.errors import DIVIDE_BY_ZERO, INDEX_OF_ZERO, SqlError, unsupported

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


def _datetime_casts() -> dict[str, str]:
    """Casts to dates and times that also read the short texts Databricks takes: ``2021``, ``2021-09``."""
    found = {}
    for kind in ("DATE", "TIMESTAMPTZ", "TIMESTAMP"):
        text = "sandbox_date_text" if kind == "DATE" else "sandbox_datetime_text"
        for name, cast in (("", "CAST"), ("try_", "TRY_CAST")):
            found[f"sandbox_{name}{kind.lower()}(x)"] = (
                f"CASE WHEN typeof(x) = 'VARCHAR' THEN {cast}({text}(CAST(x AS VARCHAR)) AS {kind})"
                f" ELSE {cast}(x AS {kind}) END"
            )
    return found


_IS_LIST = "ends_with(typeof(x), ']')"
_SHIFTED = f"x[CASE WHEN {_IS_LIST} THEN i + 1 ELSE i END]"
_SIZE = "json_array_length(to_json(x))"
"""Of a list; unlike ``len`` it can also be bound to a map. Slow, so it is asked for only where the item is NULL."""

_MAP_ONLY = "".join(f", (x, i {kind}) AS map_extract_value(x, i)" for kind in ("VARCHAR", "DATE", "BOOLEAN"))


def _outside(error_class: str, advice: str) -> str:
    return (
        f"error('[{error_class}] The index ' || i || ' is out of bounds. The array has ' || {_SIZE} || ' elements. "
        f"{advice} to tolerate accessing element at invalid index and return NULL instead. SQLSTATE: 22003')"
    )


_ITEMS = {
    "sandbox_item(x, i BIGINT)": f"""
        CASE WHEN {_IS_LIST} AND x IS NOT NULL AND (i < 0 OR ({_SHIFTED} IS NULL AND i >= {_SIZE}))
        THEN {_outside("INVALID_ARRAY_INDEX", "Use the SQL function `get()`")}
        ELSE {_SHIFTED} END{_MAP_ONLY}""",
    "sandbox_item_or_null(x, i BIGINT)": f"CASE WHEN {_IS_LIST} AND i < 0 THEN NULL ELSE {_SHIFTED} END{_MAP_ONLY}",
    "sandbox_element(x, i BIGINT)": f"""
        CASE WHEN {_IS_LIST} AND i = 0
        THEN {_raised(SqlError("INVALID_INDEX_OF_ZERO", "22003", INDEX_OF_ZERO))}
        WHEN {_IS_LIST} AND x IS NOT NULL AND x[i] IS NULL AND abs(i) > {_SIZE}
        THEN {_outside("INVALID_ARRAY_INDEX_IN_ELEMENT_AT", "Use `try_element_at`")}
        ELSE x[i] END{_MAP_ONLY}""",
    "get(x, i)": "CASE WHEN i < 0 THEN NULL ELSE x[i + 1] END",
}
"""An item of an array (from 0) or of a map (by key), which only DuckDB's binder can tell apart."""

_DIVIDE = _raised(SqlError("DIVIDE_BY_ZERO", "22012", DIVIDE_BY_ZERO))

_EXACT = "\ue000"
"""Before the digits of a number that DuckDB would make a DOUBLE of, as a string, where a warehouse keeps a DECIMAL."""

MACROS = {
    # A string of the JSON text is matched whole and stays; what follows it then, without digits, goes again.
    "sandbox_exact_numbers(x)": rf"""
        replace(regexp_replace(x,
            '("(?:[^"\\]|\\.)*")|(-?(?:\d{{20,}}(?:\.\d+)?|\d{{16,}}\.\d+|\d+\.\d{{15,}}))', '\1"{_EXACT}\2"', 'g'),
            '"{_EXACT}"', '')""",
    "sandbox_plain_numbers(x)": rf"""regexp_replace(CAST(x AS VARCHAR), '"{_EXACT}([^"]*)"', '\1', 'g')""",
    "sandbox_variant_json(x)": "sandbox_plain_numbers(CAST(x AS JSON))",
    "sandbox_integral(x, target)": _INTEGRAL.format(integers=_INTEGERS, cast="CAST", otherwise=_cast_error()),
    "sandbox_try_integral(x, target)": _INTEGRAL.format(integers=_INTEGERS, cast="TRY_CAST", otherwise="NULL"),
    "sandbox_string(x)": """
        CASE
        WHEN typeof(x) = 'TIMESTAMP WITH TIME ZONE' THEN CAST(TRY_CAST(x AS TIMESTAMP) AS VARCHAR)
        WHEN typeof(x) = 'BLOB' THEN decode(TRY_CAST(x AS BLOB))
        WHEN typeof(x) = 'VARIANT' AND starts_with(sandbox_variant_json(x), '"')
            THEN json_extract_string(CAST(x AS JSON), '$')
        WHEN typeof(x) = 'VARIANT' THEN sandbox_variant_json(x)
        ELSE CAST(x AS VARCHAR)
        END""",
    "sandbox_binary(x)": "CASE WHEN typeof(x) = 'BLOB' THEN TRY_CAST(x AS BLOB) ELSE encode(CAST(x AS VARCHAR)) END",
    "sandbox_datetime_text(x)": r"""
        CASE
        WHEN regexp_full_match(trim(x), '\d{4}') THEN trim(x) || '-01-01'
        WHEN regexp_full_match(trim(x), '\d{4}-\d{1,2}') THEN trim(x) || '-01'
        WHEN regexp_full_match(trim(x), '\d{4}-\d{1,2}-\d{1,2}T') THEN rtrim(trim(x), 'T')
        WHEN regexp_full_match(trim(x), '\d{4}-\d{1,2}-\d{1,2}[ T]\d{1,2}') THEN trim(x) || ':00'
        ELSE x
        END""",
    "sandbox_date_text(x)": r"""
        sandbox_datetime_text(regexp_replace(x, '^(\s*\d{4}-\d{1,2}-\d{1,2})[ T].*$', '\1'))""",
    "sandbox_legacy_digits(x)": r"""
        CASE WHEN regexp_full_match(trim(x), '[+-]?\d+\.\d*') THEN split_part(trim(x), '.', 1) ELSE x END""",
    "sandbox_extract(x, path)": f"""
        CASE WHEN typeof(x) = 'VARIANT' THEN {_raised(unsupported("the path of a VARIANT, as in v:name"))}
        ELSE json_extract_string(CAST(x AS VARCHAR), path) END""",
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
    "raise_error(x)": "error('[USER_RAISED_EXCEPTION] ' || x || ' SQLSTATE: P0001')",
    "array_repeat(x, n)": "list_transform(range(n), lambda i : x)",
    "arrays_overlap(a, b)": "list_has_any(a, b)",
}


def install(cursor: duckdb.DuckDBPyConnection) -> None:
    """Create the macros, or replace those of an older version in a database file."""
    for signature, body in {**MACROS, **_datetime_casts(), **_ITEMS}.items():
        cursor.execute(f"CREATE OR REPLACE MACRO {signature} AS {body}")
