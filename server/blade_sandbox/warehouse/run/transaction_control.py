"""Transaction control: BEGIN, COMMIT, ROLLBACK, SET AUTOCOMMIT, and what an open transaction means for a statement.

Statements are lists of their words in upper case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from blade_sandbox.warehouse.answers import NO_ROWS, text_table
from blade_sandbox.warehouse.errors import SqlError, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session import transactions
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.session.transactions import Transaction


def run(words: Sequence[str], session: Session, lakehouse: Lakehouse) -> pa.Table | None:
    """Do a statement of transaction control and return its rows; None if it is none.

    Raises:
        SqlError: the session is in no state for it, or the COMMIT met another's write.
    """
    spelled = " ".join(" ".join(words).replace("=", " = ").split())
    if spelled.startswith("SET AUTOCOMMIT"):
        return text_table(["value"], [(_set_autocommit(session, spelled),)])
    if spelled in ("BEGIN", "BEGIN TRANSACTION", "START", "START TRANSACTION"):
        _begin(session, lakehouse)
    elif spelled in ("COMMIT", "COMMIT TRANSACTION"):
        _commit(session)
    elif spelled in ("ROLLBACK", "ROLLBACK TRANSACTION"):
        session.roll_back()
    else:
        return None
    return NO_ROWS


@contextmanager
def around(words: Sequence[str], session: Session, lakehouse: Lakehouse) -> Iterator[None]:
    """Run a statement within the session's transaction, beginning one if it is due; it fails with the statement.

    Raises:
        SqlError: the transaction has failed before, or the statement may not run in one.
    """
    if session.transaction is None and not session.autocommit and _begins(words):
        session.transaction = Transaction(lakehouse=lakehouse)
    transaction = session.transaction
    if transaction is None:
        yield
        return
    try:
        if transaction.failed:
            raise transactions.aborted()
        transactions.check_allowed(words)
        yield
    except BaseException:
        transaction.failed = True
        raise


def _begins(words: Sequence[str]) -> bool:
    """The statement begins a transaction by itself: it may run in one."""
    try:
        transactions.check_allowed(words)
    except SqlError:
        return False
    return True


def _begin(session: Session, lakehouse: Lakehouse) -> None:
    if session.transaction is not None:
        raise transactions.not_supported("NESTED_TRANSACTION", "Nested transactions are not supported.")
    session.transaction = Transaction(lakehouse=lakehouse)


def _commit(session: Session) -> None:
    transaction, session.transaction = session.transaction, None
    if transaction is not None:
        transaction.commit()
    elif session.autocommit:
        raise transactions.none_active()


def _set_autocommit(session: Session, spelled: str) -> str:
    _, _, value = spelled.partition("=")
    if value.strip():
        if value.strip() not in ("TRUE", "FALSE"):
            raise unsupported(f"AUTOCOMMIT = {value.strip()}")
        if session.transaction is not None:
            raise transactions.not_supported(
                "COMMAND", "SET AUTOCOMMIT is not supported in a transaction. Run COMMIT or ROLLBACK first."
            )
        session.autocommit = value.strip() == "TRUE"
    return str(session.autocommit).lower()
