"""From a SQL text to its result: translated, run, and run again when a table changed in between.

Within a transaction of its session, if there is one, which fails with the statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from databricks.sql.thrift_api.TCLIService.ttypes import TSparkParameter

from blade_sandbox.warehouse.entrance import translate
from blade_sandbox.warehouse.errors import SYNTAX_ERROR, UNSUPPORTED, SqlError
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.run import transaction_control
from blade_sandbox.warehouse.run.executor import Executor, table_result
from blade_sandbox.warehouse.run.operation import Operation
from blade_sandbox.warehouse.run.result import Result
from blade_sandbox.warehouse.run.stale import StaleVersionError
from blade_sandbox.warehouse.run.wire_format import WireFormat
from blade_sandbox.warehouse.sql.tokens import tokenize


class StatementRunner:
    """Runs the statements of all sessions."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse
        self._executor = Executor(lakehouse)

    def run(
        self,
        operation: Operation,
        text: str,
        parameters: Sequence[TSparkParameter],
        wire: WireFormat,
        *,
        row_limit: int | None = None,
        drop_rows: Callable[[], int] = lambda: 0,
    ) -> Result:
        """Run one statement to its end and return the complete result.

        Raises:
            Exception: from DuckDB, or SqlError.
        """
        try:
            tokens = tokenize(text)
            table = transaction_control.run(tokens.words, operation.session, self._lakehouse)
            if table is not None:
                return table_result(table, wire)
            with transaction_control.around(tokens.words, operation.session, self._lakehouse):
                while True:
                    statement = translate(tokens, parameters, operation.session, self._lakehouse)
                    try:
                        return self._executor.run(operation, statement, wire, row_limit, drop_rows)
                    except StaleVersionError:
                        continue
        except SqlError as exc:
            if exc.error_class in (SYNTAX_ERROR, UNSUPPORTED):
                raise exc.about(text) from exc
            raise
