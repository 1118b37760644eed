"""From a SQL text to its result: translated, run, and run again when a table changed in between.

It also keeps the transaction of the session: which statements begin one, may run in it, end it or make it fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from databricks.sql.thrift_api.TCLIService.ttypes import TSparkParameter
from sqlglot.tokenizer_core import Token, TokenType

from blade_sandbox.warehouse.commands.show import strings
from blade_sandbox.warehouse.errors import SYNTAX_ERROR, UNSUPPORTED, SqlError, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.run.executor import Executor, StaleVersionError, table_result
from blade_sandbox.warehouse.run.operation import Operation
from blade_sandbox.warehouse.run.result import Result
from blade_sandbox.warehouse.run.wire import WireFormat
from blade_sandbox.warehouse.session import transactions
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.session.transactions import Transaction
from blade_sandbox.warehouse.sql.dialect import tokenize, translate
from blade_sandbox.warehouse.statements import NO_ROWS, Action
from blade_sandbox.warehouse.volumes import Volumes
from blade_sandbox.warehouse.words import Words

_VOLUME_WORDS = ("PUT", "GET", "REMOVE", "LIST", "CREATE", "DROP")


class Runner:
    """Runs the statements of all sessions."""

    def __init__(self, lakehouse: Lakehouse, volumes: Volumes) -> None:
        self._lakehouse = lakehouse
        self._volumes = volumes
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
            return self._run(operation, text, parameters, wire, row_limit=row_limit, drop_rows=drop_rows)
        except SqlError as exc:
            if exc.error_class in (SYNTAX_ERROR, UNSUPPORTED):
                raise exc.about(text) from exc
            raise

    def _run(
        self,
        operation: Operation,
        text: str,
        parameters: Sequence[TSparkParameter],
        wire: WireFormat,
        *,
        row_limit: int | None,
        drop_rows: Callable[[], int],
    ) -> Result:
        session = operation.session
        tokens = tokenize(text)
        done = self._transaction_statement(session, tokens, wire)
        if done is not None:
            return done
        if session.transaction is None and not session.autocommit and _begins(tokens):
            session.transaction = Transaction(lakehouse=self._lakehouse)
        transaction = session.transaction
        try:
            if transaction is not None:
                if transaction.failed:
                    raise transactions.aborted()
                transactions.check_allowed(tokens)
            while True:
                statement = self._about_volumes(text, tokens, session) or translate(
                    text, parameters, session, self._lakehouse
                )
                try:
                    result = self._executor.run(operation, statement, wire, row_limit, drop_rows)
                except StaleVersionError:
                    continue
                return result
        except BaseException:
            if transaction is not None:
                transaction.failed = True
            raise

    def _about_volumes(self, text: str, tokens: Sequence[Token], session: Session) -> Action | None:
        first = tokens[0]
        if first.token_type == TokenType.STRING or first.text.upper() not in _VOLUME_WORDS:
            return None
        rest = text[first.end + 1 : tokens[-1].end + 1]
        return self._volumes.parse(Words(rest, tokenize(rest)), first.text.upper(), session, self._lakehouse)

    def _transaction_statement(self, session: Session, tokens: Sequence[Token], wire: WireFormat) -> Result | None:
        words = [token.text.upper() for token in tokens]
        if words[0] in ("BEGIN", "START") and words[1:] in ([], ["TRANSACTION"]):
            self._begin(session)
        elif words in (["COMMIT"], ["COMMIT", "TRANSACTION"]):
            self._commit(session)
        elif words in (["ROLLBACK"], ["ROLLBACK", "TRANSACTION"]):
            end(session)
        elif _spelled(words).startswith("SET AUTOCOMMIT"):
            return table_result(strings(["value"], [(self._set_autocommit(session, _spelled(words)),)]), wire)
        else:
            return None
        return table_result(NO_ROWS, wire)

    def _begin(self, session: Session) -> None:
        if session.transaction is not None:
            raise transactions.not_supported("NESTED_TRANSACTION", "Nested transactions are not supported.")
        session.transaction = Transaction(lakehouse=self._lakehouse)

    def _commit(self, session: Session) -> None:
        transaction, session.transaction = session.transaction, None
        if transaction is not None:
            transaction.commit()
        elif session.autocommit:
            raise transactions.none_active()

    def _set_autocommit(self, session: Session, words: str) -> str:
        _, _, value = words.partition("=")
        if value.strip():
            if value.strip() not in ("TRUE", "FALSE"):
                raise unsupported(f"AUTOCOMMIT = {value.strip()}")
            if session.transaction is not None:
                raise transactions.not_supported(
                    "COMMAND", "SET AUTOCOMMIT is not supported in a transaction. Run COMMIT or ROLLBACK first."
                )
            session.autocommit = value.strip() == "TRUE"
        return str(session.autocommit).lower()


def end(session: Session) -> None:
    """Roll back the session's transaction, if it has one."""
    transaction, session.transaction = session.transaction, None
    if transaction is not None:
        transaction.rollback()


def _spelled(words: Sequence[str]) -> str:
    return " ".join(" ".join(words).replace("=", " = ").split())


def _begins(tokens: Sequence[Token]) -> bool:
    """The statement begins a transaction by itself: it may run in one."""
    try:
        transactions.check_allowed(tokens)
    except SqlError:
        return False
    return True
