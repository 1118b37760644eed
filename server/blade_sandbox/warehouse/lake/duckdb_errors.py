"""THE table from DuckDB's error texts to Databricks' errors.

Texts, because DuckDB's Python exceptions tell no more than their text, and its Arrow reader raises plain OSError.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from blade_sandbox.warehouse.errors import (
    DIVIDE_BY_ZERO,
    SqlError,
    cast_invalid_input,
    column_not_found,
    quote,
    syntax_error,
    unsupported,
)

_DUCKDB_TYPES = {
    "INT8": "TINYINT",
    "INT16": "SMALLINT",
    "INT32": "INT",
    "INT64": "BIGINT",
    "INT128": "DECIMAL(38,0)",
    "VARCHAR": "STRING",
    "BLOB": "BINARY",
    "BOOL": "BOOLEAN",
    "INTEGER": "INT",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "TIMESTAMP": "TIMESTAMP_NTZ",
}


def _spark_type(name: str) -> str:
    return _DUCKDB_TYPES.get(name.strip(), name.strip())


def _missing_column(match: re.Match[str]) -> SqlError:
    return column_not_found(match["name"].replace('"', ""), re.findall(r'"([^"]+)"', match["rest"] or ""))


def _cast_overflow(match: re.Match[str]) -> SqlError:
    return SqlError(
        "CAST_OVERFLOW",
        "22003",
        f'The value {match["value"]} of the type "{_spark_type(match["source"])}" cannot be cast to '
        f'"{_spark_type(match["target"])}" due to an overflow. Use `try_cast` to tolerate overflow and return NULL '
        "instead.",
    )


def _missing_routine(match: re.Match[str]) -> SqlError:
    return SqlError(
        "UNRESOLVED_ROUTINE",
        "42883",
        f"Cannot resolve routine {quote(match['name'].lower())} on search path [`system`.`builtin`, "
        "`system`.`session`]. The sandbox warehouse may lack a function that a real warehouse has.",
    )


def _simple(error_class: str, sqlstate: str, text: str) -> Callable[[re.Match[str]], SqlError]:
    return lambda match: SqlError(error_class, sqlstate, text.format(**match.groupdict()))


_Rule = tuple[str, Callable[[re.Match[str]], SqlError]]
_RULES: list[_Rule] = [
    (
        r"\[(?P<cls>[A-Z_.]+)\] (?P<text>.*) SQLSTATE: (?P<state>\w{5})",
        lambda m: SqlError(m["cls"], m["state"], m["text"]),
    ),
    (r"Referenced column \"(?P<name>[^\n]+?)\" (?:was )?not found(?P<rest>.*)", _missing_column),
    (r"Referenced table \"(?P<name>.+?)\" not found(?P<rest>.*)", _missing_column),
    (
        r"(?:Values list|Table) \"(?P<t>.+?)\" does not have a column named \"(?P<name>.+?)\"(?P<rest>.*)",
        _missing_column,
    ),
    (r"Division by zero", _simple("DIVIDE_BY_ZERO", "22012", DIVIDE_BY_ZERO.replace("{", "{{"))),
    (
        r"Could not convert string '(?P<value>.*)' to (?P<target>[A-Z0-9() ,]+)",
        lambda m: cast_invalid_input(f"'{m['value']}'", "STRING", _spark_type(m["target"])),
    ),
    (
        r"(?P<target>date|timestamp|time) field value out of range: \"(?P<value>.*?)\"",
        lambda m: cast_invalid_input(f"'{m['value']}'", "STRING", m["target"].upper()),
    ),
    (
        r"invalid (?P<target>date|timestamp|time) field format: \"(?P<value>.*?)\"",
        lambda m: cast_invalid_input(f"'{m['value']}'", "STRING", m["target"].upper()),
    ),
    (
        r"Type (?P<source>\w+) with value (?P<value>\S+) can't be cast .*?destination type (?P<target>\w+)",
        _cast_overflow,
    ),
    (
        r"Could not cast value (?P<value>\S+) to (?P<target>DECIMAL\(\d+,\s*\d+\))",
        lambda m: SqlError(
            "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
            "22003",
            f"The {m['value']} rounded half up cannot be represented as {m['target']}.",
        ),
    ),
    (r"(?:Scalar|Aggregate|Table|Macro|Window)?\s*Function with name (?P<name>\S+) does not exist", _missing_routine),
    (
        r"column \"(?P<name>.+?)\" must appear in the GROUP BY",
        _simple(
            "MISSING_AGGREGATION",
            "42803",
            'The non-aggregating expression "{name}" is based on columns which are not participating in the GROUP '
            "BY clause. Add the columns or the expression to the GROUP BY, aggregate the expression, or use "
            '"any_value({name})" if you do not care which of the values within a group is returned.',
        ),
    ),
    (
        r"Ambiguous reference to column name \"(?P<name>.+?)\"",
        _simple("AMBIGUOUS_REFERENCE", "42704", "Reference `{name}` is ambiguous."),
    ),
    (
        r"aggregate function calls cannot be nested",
        _simple(
            "NESTED_AGGREGATE_FUNCTION",
            "42607",
            "It is not allowed to use an aggregate function in the argument of another aggregate function. Please "
            "use the inner aggregate function in a sub-query.",
        ),
    ),
    (
        r"WHERE clause cannot contain aggregates",
        _simple("INVALID_WHERE_CONDITION", "42903", "The WHERE condition contains an aggregate function."),
    ),
    (
        r"More than one row returned by a subquery",
        _simple(
            "SCALAR_SUBQUERY_TOO_MANY_ROWS", "21000", "More than one row returned by a subquery used as an expression."
        ),
    ),
    (
        r"No function matches the given name and argument types '(?P<name>[^\n]*?)'",
        _simple(
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", 'Cannot resolve "{name}" due to data type mismatch.'
        ),
    ),
    (
        r"Could not choose a best candidate function for the function call \"(?P<name>[^\n]*?)\"\.",
        _simple(
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", 'Cannot resolve "{name}" due to data type mismatch.'
        ),
    ),
    (
        r"Cannot (?:compare|mix) (?:values of )?(?P<name>[^\n]*)",
        _simple("DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES", "42K09", "Cannot compare or mix {name}"),
    ),
    (
        r"Unimplemented type for cast \((?P<source>[^)]*(?:\([^)]*\))?) -> (?P<target>.*?)\)",
        _simple("DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION", "42K09", 'Cannot cast "{source}" to "{target}".'),
    ),
    (
        r"table \"?(?P<name>.+?)\"? has (?P<n>\d+) columns but (?P<m>\d+) values were supplied",
        _simple(
            "INSERT_COLUMN_ARITY_MISMATCH",
            "21S01",
            "Cannot write to `{name}`, the reason is that it has {n} columns and the data has {m}.",
        ),
    ),
    (
        r"NOT NULL constraint failed: (?P<name>\S+)",
        _simple("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502", "NOT NULL constraint violated for column: {name}."),
    ),
    (
        r"CHECK constraint failed(?P<name>.*)",
        _simple("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001", "CHECK constraint violated{name}."),
    ),
    (
        r"Overflow in|overflow|Out of Range Error|out of range",
        lambda m: SqlError(
            "ARITHMETIC_OVERFLOW",
            "22003",
            'The operation caused an overflow. If necessary set "ansi_mode" to "false" to bypass this '
            f"error. ({m.string.splitlines()[0]})",
        ),
    ),
    (r"syntax error at or near \"(?P<near>.*?)\"", lambda m: syntax_error(m["near"])),
]
_COMPILED = [(re.compile(pattern, re.DOTALL | re.IGNORECASE), build) for pattern, build in _RULES]


def from_duckdb(error: BaseException) -> SqlError:
    """The Databricks error for one raised by DuckDB (or by its Arrow reader, which wraps it in OSError)."""
    if isinstance(error, SqlError):
        return error
    message = str(error)
    body = message.split("\n\nLINE ", maxsplit=1)[0]
    for pattern, build in _COMPILED:
        match = pattern.search(body)
        if match:
            return build(match)
    kind, _, text = body.partition(" Error: ")
    first = (text or kind).splitlines()[0] if (text or kind) else type(error).__name__
    if kind == "Conversion":
        return SqlError("CAST_INVALID_INPUT", "22018", first)
    if kind == "Binder":
        return SqlError("DATATYPE_MISMATCH", "42K09", first)
    if kind.lower() in ("not implemented", "parser", "permission"):
        return unsupported(first)
    return SqlError("INTERNAL_ERROR", "XX000", first)
