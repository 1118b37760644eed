"""A tree as DuckDB's SQL, or an error naming what DuckDB has nothing for."""

from __future__ import annotations

import logging

import sqlglot
import sqlglot.errors
from sqlglot import exp

from blade_sandbox.warehouse.errors import unsupported

logging.getLogger("sqlglot").setLevel(logging.ERROR)


def render(tree: exp.Expr) -> str:
    """The tree in DuckDB's dialect.

    Raises:
        SqlError: sqlglot knows that DuckDB has nothing of the same meaning.
    """
    try:
        return tree.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.errors.UnsupportedError as exc:
        raise unsupported(str(exc).splitlines()[0]) from exc
