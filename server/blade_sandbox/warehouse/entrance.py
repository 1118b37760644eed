"""The one way in for a SQL text: to the commands, or through the dialect to DuckDB.

EXPLAIN and DESCRIBE QUERY hold another statement, which comes in here again; they are handed the way, so that no file
below has to know this one.
"""

from __future__ import annotations

from collections.abc import Sequence

from databricks.sql.thrift_api.TCLIService.ttypes import TSparkParameter

from blade_sandbox.warehouse.commands import explain, parser
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql import dialect
from blade_sandbox.warehouse.sql.tokens import StatementTokens, tokenize
from blade_sandbox.warehouse.statements import Statement


def translate(
    tokens: StatementTokens, parameters: Sequence[TSparkParameter], session: Session, lakehouse: Lakehouse
) -> Statement:
    """Turn one statement into something an operation can run.

    Raises:
        SqlError: syntax error, unknown table, unbound parameter, or a construct the sandbox lacks.
    """
    return (
        explain.parse(tokens, lambda text: translate(tokenize(text), (), session, lakehouse))
        or parser.parse(tokens, session, lakehouse)
        or dialect.plan(tokens, parameters, session, lakehouse)
    )
