"""EXPLAIN and DESCRIBE QUERY: what another statement would do and answer, without its being run."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from blade_sandbox.warehouse.answers import text_table
from blade_sandbox.warehouse.errors import syntax_error
from blade_sandbox.warehouse.lake.lakehouse import Cursor
from blade_sandbox.warehouse.lake.sql_types import from_duckdb
from blade_sandbox.warehouse.sql.tokens import StatementTokens
from blade_sandbox.warehouse.statements import Command, Query, Statement


def parse(tokens: StatementTokens, translate: Callable[[str], Statement]) -> Command | None:
    """The command of an EXPLAIN or DESCRIBE QUERY; None if it is something else.

    Args:
        tokens: the statement.
        translate: what another statement turns into, by its text; asked when the command is run.
    """
    reader = tokens.after_keyword()
    if tokens.keyword == "EXPLAIN":
        reader.accept_any("EXTENDED", "FORMATTED", "COST", "CODEGEN")
        text = reader.rest()
        return Command(run=lambda cursor: _plan(cursor, translate(text), text))
    if tokens.keyword in ("DESCRIBE", "DESC"):
        first = reader.peek()
        if reader.accept("QUERY") or (first is not None and first.text.upper() in ("SELECT", "WITH", "VALUES")):
            text = reader.rest()
            return Command(run=lambda cursor: _columns(cursor, translate(text), text))
    return None


def _plan(cursor: Cursor, statement: Statement, text: str) -> pa.Table:
    if isinstance(statement, Query):
        _register(cursor, statement)
        text = "\n".join(row[-1] for row in cursor.execute(f"EXPLAIN {statement.sql}").fetchall())
    return text_table(["plan"], [(f"== Physical Plan ==\n{text}",)])


def _columns(cursor: Cursor, statement: Statement, text: str) -> pa.Table:
    if not isinstance(statement, Query):
        raise syntax_error(text.split(maxsplit=1)[0] if text else "")
    _register(cursor, statement)
    relation = cursor.sql(statement.sql)
    types = [from_duckdb(kind).name for kind in relation.types]
    rows = [(name, kind, None) for name, kind in zip(relation.columns, types, strict=True)]
    return text_table(["col_name", "data_type", "comment"], rows)


def _register(cursor: Cursor, query: Query) -> None:
    for name, table in query.relations.items():
        cursor.register(name, table)
