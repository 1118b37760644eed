"""SQL errors as a Databricks warehouse words them: error class, text, SQLSTATE.

    SqlError
        .error_class   "TABLE_OR_VIEW_NOT_FOUND"
        .sqlstate      "42P01"
        str(error)     "[TABLE_OR_VIEW_NOT_FOUND] The table or view `x` cannot be found. ... SQLSTATE: 42P01"

DuckDB's own errors become one of these in ``duckdb_errors``; nothing else leaves the warehouse. SQLSTATE KP001
is never used: the driver takes it for a warehouse of another kind and changes its protocol.
"""

from __future__ import annotations

SYNTAX_ERROR = "PARSE_SYNTAX_ERROR"
UNSUPPORTED = "UNSUPPORTED_FEATURE.SANDBOX_WAREHOUSE"

SHOWN_SQL = 500
"""So many characters of a statement are shown in the error about it."""


class SqlError(Exception):
    """A statement failed; the message is what the driver shows its user."""

    def __init__(self, error_class: str, sqlstate: str, text: str, context: str = "") -> None:
        super().__init__(f"[{error_class}] {text} SQLSTATE: {sqlstate}{context}")
        self.error_class = error_class
        self.sqlstate = sqlstate
        self._text = text

    def about(self, statement: str) -> SqlError:
        """The same error, with the statement at its end."""
        shown = statement.strip()[:SHOWN_SQL]
        return SqlError(self.error_class, self.sqlstate, self._text, f"\n\n== SQL ==\n{shown}")


def quote(*parts: str) -> str:
    """`main`.`blade`.`x`, as Databricks writes names in messages."""
    return ".".join(f"`{part}`" for part in parts)


def unsupported(construct: str) -> SqlError:
    """The error for SQL that a real warehouse may know and this one does not."""
    return SqlError(UNSUPPORTED, "0A000", f"The sandbox warehouse does not support {construct}.")


def syntax_error(near: str, detail: str = "") -> SqlError:
    """The text is no SQL; ``near`` is the word where that shows."""
    at = f"at or near '{near}'" if near else "at or near end of input"
    return SqlError(SYNTAX_ERROR, "42601", f"Syntax error {at}.{' ' + detail if detail else ''}")


def table_not_found(*parts: str) -> SqlError:
    """No table or view of this name."""
    return SqlError(
        "TABLE_OR_VIEW_NOT_FOUND",
        "42P01",
        f"The table or view {quote(*parts)} cannot be found. Verify the spelling and correctness of the schema and "
        "catalog. If you did not qualify the name with a schema, verify the current_schema() output, or qualify the "
        "name with the correct schema and catalog. To tolerate the error on drop use DROP VIEW IF EXISTS or DROP "
        "TABLE IF EXISTS.",
    )


def needs_a_table(statement: str, *parts: str) -> SqlError:
    """A statement that reads a table's log, on a view, which has none."""
    return SqlError(
        "EXPECT_TABLE_NOT_VIEW.NO_ALTERNATIVE",
        "42809",
        f"'{statement}' expects a table but {quote(*parts)} is a view.",
    )


def table_exists(*parts: str) -> SqlError:
    """CREATE without OR REPLACE or IF NOT EXISTS on a name that is taken."""
    return SqlError(
        "TABLE_OR_VIEW_ALREADY_EXISTS",
        "42P07",
        f"Cannot create table or view {quote(*parts)} because it already exists. Choose a different name, drop or "
        "replace the existing object, or add the IF NOT EXISTS clause to tolerate pre-existing objects.",
    )


def schema_not_found(*parts: str) -> SqlError:
    """No schema of this name."""
    return SqlError(
        "SCHEMA_NOT_FOUND",
        "42704",
        f"The schema {quote(*parts)} cannot be found. Verify the spelling and correctness of the schema and catalog. "
        "If you did not qualify the name with a catalog, verify the current_schema() output, or qualify the name "
        "with the correct catalog. To tolerate the error on drop use DROP SCHEMA IF EXISTS.",
    )


def catalog_not_found(name: str) -> SqlError:
    """No catalog of this name."""
    return SqlError(
        "NO_SUCH_CATALOG_EXCEPTION",
        "42704",
        f"Catalog {quote(name)} was not found. Please verify the spelling and that you have access to it.",
    )


def column_not_found(name: str, candidates: list[str]) -> SqlError:
    """No column of this name; ``candidates`` are offered instead."""
    head = f"A column, variable, or function parameter with name {quote(*name.split('.'))} cannot be resolved."
    if not candidates:
        return SqlError("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703", head)
    names = ", ".join(quote(*candidate.split(".")) for candidate in candidates)
    return SqlError(
        "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703", f"{head} Did you mean one of the following? [{names}]."
    )


def unbound_parameter(name: str) -> SqlError:
    """A marker no value was sent for."""
    return SqlError(
        "UNBOUND_SQL_PARAMETER",
        "42P02",
        f"Found the unbound parameter: {name}. Please, fix `args` and provide a mapping of the parameter to either a "
        "SQL literal or collection constructor functions such as `map()`, `array()`, `struct()`.",
    )


def cast_invalid_input(value: str, source: str, target: str) -> SqlError:
    """Text that is no value of the type; ``value`` with its quotes."""
    return SqlError(
        "CAST_INVALID_INPUT",
        "22018",
        f'The value {value} of the type "{source}" cannot be cast to "{target}" because it is malformed. Correct '
        "the value as per the syntax, or change its target type. Use `try_cast` to tolerate malformed input and "
        "return NULL instead.",
    )


INDEX_OF_ZERO = "The index 0 is invalid. An index shall be either < 0 or > 0 (the first element has index 1)."

DIVIDE_BY_ZERO = (
    "Division by zero. Use `try_divide` to tolerate divisor being 0 and return NULL instead. If necessary set "
    '"ansi_mode" to "false" to bypass this error.'
)
