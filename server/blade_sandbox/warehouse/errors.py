"""SQL errors as a Databricks warehouse words them: error class, text, SQLSTATE.

    SqlError
        .error_class   "TABLE_OR_VIEW_NOT_FOUND"
        .sqlstate      "42P01"
        str(error)     "[TABLE_OR_VIEW_NOT_FOUND] The table or view `x` cannot be found. ... SQLSTATE: 42P01"

DuckDB's own errors become one of these by the table at the end; nothing else leaves the warehouse. SQLSTATE KP001
is never used: the driver takes it for a warehouse of another kind and changes its protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable


class SqlError(Exception):
    """A statement failed; the message is what the driver shows its user."""

    def __init__(self, error_class: str, sqlstate: str, text: str) -> None:
        super().__init__(f"[{error_class}] {text} SQLSTATE: {sqlstate}")
        self.error_class = error_class
        self.sqlstate = sqlstate


def quote(*parts: str) -> str:
    """`main`.`blade`.`x`, as Databricks writes names in messages."""
    return ".".join(f"`{part}`" for part in parts)


def unsupported(construct: str) -> SqlError:
    """The error for SQL that a real warehouse may know and this one does not."""
    return SqlError(
        "UNSUPPORTED_FEATURE.SANDBOX_WAREHOUSE", "0A000", f"The sandbox warehouse does not support {construct}."
    )


def syntax_error(near: str, detail: str = "") -> SqlError:
    at = f"at or near '{near}'" if near else "at or near end of input"
    return SqlError("PARSE_SYNTAX_ERROR", "42601", f"Syntax error {at}.{' ' + detail if detail else ''}")


def table_not_found(*parts: str) -> SqlError:
    return SqlError(
        "TABLE_OR_VIEW_NOT_FOUND",
        "42P01",
        f"The table or view {quote(*parts)} cannot be found. Verify the spelling and correctness of the schema and "
        "catalog. If you did not qualify the name with a schema, verify the current_schema() output, or qualify the "
        "name with the correct schema and catalog. To tolerate the error on drop use DROP VIEW IF EXISTS or DROP "
        "TABLE IF EXISTS.",
    )


def table_exists(*parts: str) -> SqlError:
    return SqlError(
        "TABLE_OR_VIEW_ALREADY_EXISTS",
        "42P07",
        f"Cannot create table or view {quote(*parts)} because it already exists. Choose a different name, drop or "
        "replace the existing object, or add the IF NOT EXISTS clause to tolerate pre-existing objects.",
    )


def schema_not_found(*parts: str) -> SqlError:
    return SqlError(
        "SCHEMA_NOT_FOUND",
        "42704",
        f"The schema {quote(*parts)} cannot be found. Verify the spelling and correctness of the schema and catalog. "
        "If you did not qualify the name with a catalog, verify the current_schema() output, or qualify the name "
        "with the correct catalog. To tolerate the error on drop use DROP SCHEMA IF EXISTS.",
    )


def catalog_not_found(name: str) -> SqlError:
    return SqlError(
        "NO_SUCH_CATALOG_EXCEPTION",
        "42704",
        f"Catalog {quote(name)} was not found. Please verify the spelling and that you have access to it.",
    )


def column_not_found(name: str, candidates: list[str]) -> SqlError:
    head = f"A column, variable, or function parameter with name {quote(*name.split('.'))} cannot be resolved."
    if not candidates:
        return SqlError("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703", head)
    names = ", ".join(quote(*candidate.split(".")) for candidate in candidates)
    return SqlError(
        "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703", f"{head} Did you mean one of the following? [{names}]."
    )


def unbound_parameter(name: str) -> SqlError:
    return SqlError(
        "UNBOUND_SQL_PARAMETER",
        "42P02",
        f"Found the unbound parameter: {name}. Please, fix `args` and provide a mapping of the parameter to either a "
        "SQL literal or collection constructor functions such as `map()`, `array()`, `struct()`.",
    )


def cast_invalid_input(value: str, source: str, target: str) -> SqlError:
    return SqlError(
        "CAST_INVALID_INPUT",
        "22018",
        f"The value {value} of the type \"{source}\" cannot be cast to \"{target}\" because it is malformed. Correct "
        "the value as per the syntax, or change its target type. Use `try_cast` to tolerate malformed input and "
        "return NULL instead.",
    )


DIVIDE_BY_ZERO = (
    "Division by zero. Use `try_divide` to tolerate divisor being 0 and return NULL instead. If necessary set "
    '"ansi_mode" to "false" to bypass this error.'
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
    (r"\[(?P<cls>[A-Z_.]+)\] (?P<text>.*?) SQLSTATE: (?P<state>\w{5})",
     lambda m: SqlError(m["cls"], m["state"], m["text"])),
    (r"Referenced column \"(?P<name>[^\n]+?)\" (?:was )?not found(?P<rest>.*)", _missing_column),
    (r"Referenced table \"(?P<name>.+?)\" not found(?P<rest>.*)", _missing_column),
    (r"(?:Values list|Table) \"(?P<t>.+?)\" does not have a column named \"(?P<name>.+?)\"(?P<rest>.*)",
     _missing_column),
    (r"Division by zero", _simple("DIVIDE_BY_ZERO", "22012", DIVIDE_BY_ZERO.replace("{", "{{"))),
    (r"Could not convert string '(?P<value>.*)' to (?P<target>[A-Z0-9() ,]+)",
     lambda m: cast_invalid_input(f"'{m['value']}'", "STRING", _spark_type(m["target"]))),
    (r"(?P<target>date|timestamp|time) field value out of range: \"(?P<value>.*?)\"",
     lambda m: cast_invalid_input(f"'{m['value']}'", "STRING", m["target"].upper())),
    (r"invalid (?P<target>date|timestamp|time) field format: \"(?P<value>.*?)\"",
     lambda m: cast_invalid_input(f"'{m['value']}'", "STRING", m["target"].upper())),
    (r"Type (?P<source>\w+) with value (?P<value>\S+) can't be cast .*?destination type (?P<target>\w+)",
     _cast_overflow),
    (r"Could not cast value (?P<value>\S+) to (?P<target>DECIMAL\(\d+,\s*\d+\))",
     lambda m: SqlError("NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION", "22003",
                        f"The {m['value']} rounded half up cannot be represented as {m['target']}.")),
    (r"(?:Scalar|Aggregate|Table|Macro|Window)?\s*Function with name (?P<name>\S+) does not exist",
     _missing_routine),
    (r"column \"(?P<name>.+?)\" must appear in the GROUP BY",
     _simple("MISSING_AGGREGATION", "42803",
             "The non-aggregating expression \"{name}\" is based on columns which are not participating in the GROUP "
             "BY clause. Add the columns or the expression to the GROUP BY, aggregate the expression, or use "
             "\"any_value({name})\" if you do not care which of the values within a group is returned.")),
    (r"Ambiguous reference to column name \"(?P<name>.+?)\"",
     _simple("AMBIGUOUS_REFERENCE", "42704", "Reference `{name}` is ambiguous.")),
    (r"aggregate function calls cannot be nested",
     _simple("NESTED_AGGREGATE_FUNCTION", "42607",
             "It is not allowed to use an aggregate function in the argument of another aggregate function. Please "
             "use the inner aggregate function in a sub-query.")),
    (r"WHERE clause cannot contain aggregates",
     _simple("INVALID_WHERE_CONDITION", "42903", "The WHERE condition contains an aggregate function.")),
    (r"More than one row returned by a subquery",
     _simple("SCALAR_SUBQUERY_TOO_MANY_ROWS", "21000",
             "More than one row returned by a subquery used as an expression.")),
    (r"No function matches the given name and argument types '(?P<name>[^\n]*?)'",
     _simple("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "Cannot resolve \"{name}\" due to data type mismatch.")),
    (r"Could not choose a best candidate function for the function call \"(?P<name>[^\n]*?)\"\.",
     _simple("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "Cannot resolve \"{name}\" due to data type mismatch.")),
    (r"Cannot (?:compare|mix) (?:values of )?(?P<name>[^\n]*)",
     _simple("DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES", "42K09", "Cannot compare or mix {name}")),
    (r"Unimplemented type for cast \((?P<source>[^)]*(?:\([^)]*\))?) -> (?P<target>.*?)\)",
     _simple("DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION", "42K09", "Cannot cast \"{source}\" to \"{target}\".")),
    (r"table \"?(?P<name>.+?)\"? has (?P<n>\d+) columns but (?P<m>\d+) values were supplied",
     _simple("INSERT_COLUMN_ARITY_MISMATCH", "21S01",
             "Cannot write to `{name}`, the reason is that it has {n} columns and the data has {m}.")),
    (r"NOT NULL constraint failed: (?P<name>\S+)",
     _simple("DELTA_NOT_NULL_CONSTRAINT_VIOLATED", "23502", "NOT NULL constraint violated for column: {name}.")),
    (r"CHECK constraint failed(?P<name>.*)",
     _simple("DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "23001", "CHECK constraint violated{name}.")),
    (r"Overflow in|overflow|Out of Range Error|out of range",
     lambda m: SqlError("ARITHMETIC_OVERFLOW", "22003",
                        "The operation caused an overflow. If necessary set \"ansi_mode\" to \"false\" to bypass this "
                        f"error. ({m.string.splitlines()[0]})")),
    (r"syntax error at or near \"(?P<near>.*?)\"", lambda m: syntax_error(m["near"])),
]
_COMPILED = [(re.compile(pattern, re.DOTALL | re.IGNORECASE), build) for pattern, build in _RULES]


def from_duckdb(error: BaseException) -> SqlError:
    """The Databricks error for one raised by DuckDB (or by its Arrow reader, which wraps it in OSError)."""
    if isinstance(error, SqlError):
        return error
    message = str(error)
    body = message.split("\n\nLINE ")[0]
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
    if kind in ("Not implemented", "Not Implemented"):
        return unsupported(first)
    return SqlError("INTERNAL_ERROR", "XX000", first)
