"""Multi-statement transactions of one session: SET AUTOCOMMIT = FALSE or BEGIN TRANSACTION, then COMMIT or ROLLBACK.

A transaction works on private copies. The first statement that names a table copies it, so later reads repeat; writes
go to the copy; COMMIT puts the copies in place of the tables in one go, if nobody else has written to them meanwhile.
DuckDB's own transactions would not do: they refuse the second writer at its UPDATE, Databricks at its COMMIT.
"""

# ruff: noqa: S608 - names are quoted identifiers
from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from blade_sandbox.warehouse.errors import SqlError, quote
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName, identifier

_ALLOWED = {"SELECT", "WITH", "VALUES", "FROM", "TABLE", "(", "INSERT", "MERGE", "UPDATE", "DELETE"}


@dataclass(kw_only=True)
class Transaction:
    """One open transaction.

    Attributes:
        versions: the version of each table named so far; its copy is in ``schema_of(table)``.
        written: tables changed, with the operation DESCRIBE HISTORY will show.
        failed: a statement has failed; only ROLLBACK is left.
    """

    lakehouse: Lakehouse
    guid: str = field(default_factory=lambda: secrets.token_hex(16))
    versions: dict[TableName, int] = field(default_factory=dict)
    written: dict[TableName, str] = field(default_factory=dict)
    failed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def schema_of(self, name: TableName) -> str:
        """The DuckDB schema with the copies of this table's schema."""
        return f".transaction.{self.guid}.{name.physical_schema}"

    def snapshot(self, name: TableName) -> str:
        """Copy the table unless that is done; the DuckDB schema of the copy."""
        schema = self.schema_of(name)
        with self._lock:
            if name not in self.versions:
                cursor = self.lakehouse.cursor()
                try:
                    with self.lakehouse.writing():
                        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}")
                        self.lakehouse.copy(cursor, name, f"{identifier(schema)}.{identifier(name.table)}")
                        self.versions[name] = self.lakehouse.history.latest(cursor, name)
                finally:
                    cursor.close()
        return schema

    def commit(self) -> None:
        """Put the copies in place of the tables written to, all or none, and end.

        Raises:
            SqlError: a statement had failed, or another session has written to one of the tables.
        """
        cursor = self.lakehouse.cursor()
        try:
            if self.failed:
                raise aborted()
            with self.lakehouse.writing():
                cursor.execute("BEGIN")
                try:
                    for name, operation in self.written.items():
                        self._check_unchanged(name)
                        self.lakehouse.history.keep(cursor, name)
                        copy = f"{identifier(self.schema_of(name))}.{identifier(name.table)}"
                        cursor.execute(f"DELETE FROM {name.sql}")
                        cursor.execute(f"INSERT INTO {name.sql} SELECT * FROM {copy}")
                        self.lakehouse.history.written(cursor, name, operation)
                    cursor.execute("COMMIT")
                except BaseException:
                    cursor.execute("ROLLBACK")
                    raise
        finally:
            cursor.close()
            self.rollback()

    def rollback(self) -> None:
        """Forget the copies and end."""
        for schema in {self.schema_of(name) for name in self.versions}:
            self.lakehouse.rows(f"DROP SCHEMA IF EXISTS {identifier(schema)} CASCADE")

    def _check_unchanged(self, name: TableName) -> None:
        self.lakehouse.require_table(name)
        cursor = self.lakehouse.cursor()
        try:
            if self.lakehouse.history.latest(cursor, name) == self.versions[name]:
                return
        finally:
            cursor.close()
        raise SqlError(
            "DELTA_CONCURRENT_WRITE",
            "2D521",
            f"ConcurrentWriteException: {quote(*name.parts)} was written to by another transaction since this one "
            "began. The transaction was rolled back; run it again.",
        )


def check_allowed(statement: Sequence[str]) -> None:
    """Raises SqlError unless the statement, as words in upper case, may run inside a transaction."""
    words = [*statement[:3], "", "", ""]
    if words[0] in _ALLOWED:
        return
    # sqlglot makes one token of everything after SHOW.
    if words[0] == "SHOW" and " ".join(words[1:]).split()[:1] == ["COLUMNS"]:
        return
    if words[0] in ("DESCRIBE", "DESC"):
        first = words[2] if words[1] == "TABLE" else words[1]
        if first not in (
            "EXTENDED",
            "FORMATTED",
            "QUERY",
            "HISTORY",
            "DETAIL",
            "CATALOG",
            "SCHEMA",
            "DATABASE",
            "SELECT",
        ):
            return
    raise not_supported("COMMAND", f"Command {words[0]} is not supported in a transaction. Only SELECT / INSERT / "
                                   "MERGE / UPDATE / DELETE / DESCRIBE TABLE are supported.")  # fmt: skip


def not_supported(condition: str, text: str) -> SqlError:
    """The error for what cannot be done while a transaction is open."""
    return SqlError(f"TRANSACTION_NOT_SUPPORTED.{condition}", "0A000", f"Failed to execute the statement. {text}")


def metadata_blocked(call: str) -> SqlError:
    """The error of the driver's metadata calls while a transaction is open; it does not make the transaction fail."""
    return not_supported("COMMAND", f"{call} is not supported within a multi-statement transaction.")


def aborted() -> SqlError:
    """The error of every statement but ROLLBACK after one that failed."""
    return SqlError(
        "TRANSACTION_ABORTED", "25P02", "A statement of this transaction has failed. Run ROLLBACK, then begin again."
    )


def none_active() -> SqlError:
    """The error of COMMIT outside a transaction."""
    return SqlError(
        "MULTI_STATEMENT_TRANSACTION_NO_ACTIVE_TRANSACTION", "25000", "There is no active transaction to commit."
    )
