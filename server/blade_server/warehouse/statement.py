"""One statement on the driver's side: run, poll, fetch, count, close.

Everything here runs on the session's own thread, except `cancel`. Of the driver's ways it is `execute_async`: with
`execute` the warehouse keeps the first request until the statement has ended, 5 s at most, and before its answer there
is nothing to cancel. For small results that is worth it: `execute` brings them in one round trip instead of five.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
from databricks.sql.backend.types import CommandState

from blade_server.errors import ResultTruncated, StatementCancelled, WarehouseRefused, WarehouseUnavailable
from blade_server.warehouse.failures import DRIVER_ERRORS, session_lost, translate
from blade_server.warehouse.session import Session, send_cancel
from blade_server.warehouse.tally import Tally

POLL_MIN_S = 0.005
POLL_MAX_S = 0.25
CANCEL_PAUSE_S = 0.05


class Statement:
    """A statement and its cursor. `promised` and `fetched` are rows."""

    def __init__(
        self,
        session: Session,
        sql: str,
        parameters: Mapping[str, Any],
        max_rows: int,
        tally: Tally,
        *,
        at_once: bool = False,
    ) -> None:
        """Runs nothing yet. `at_once`: its result is small, and comes with the answer to the first request."""
        self._session = session
        self._sql = sql
        self._parameters = dict(parameters)
        self._max_rows = max_rows
        self._tally = tally
        self._cursor: Any = None
        self._at_once = at_once
        self._cancelled = threading.Event()
        self._over = threading.Event()
        self._ledger: _Ledger | None = None
        self.last_bytes = 0
        """Of the rows that were fetched last, in Arrow's form."""
        self.fetched = 0

    def run(self) -> pa.Table:
        """Execute it and wait until it has finished; returns the first rows (none: an empty table with the schema)."""
        try:
            return self._guarded(self._run_once)
        except _SessionLost:
            self._session.reset()
        return self._guarded(self._run_once, last=True)

    def fetch(self) -> pa.Table:
        """The next rows, at most `max_rows`; none at the end of the result.

        Raises:
            ResultTruncated: the result is over and rows are missing.
        """
        try:
            return self._guarded(self._fetch)
        except _SessionLost as lost:
            raise translate(lost.args[0], self._session.target) from lost

    def close(self) -> None:
        """Let the warehouse forget the result. Errors do not matter any more."""
        cursor, self._cursor = self._cursor, None
        self._over.set()
        if cursor is None:
            return
        with suppress(*DRIVER_ERRORS):
            result = cursor.active_result_set
            if result is not None:
                result.close()
            elif cursor.active_command_id is not None:
                # The driver closes only operations of which it has a result.
                cursor.backend.close_command(cursor.active_command_id)
        cursor.active_result_set = None

    def cancel(self) -> None:
        """Stop it on the warehouse, now or as soon as it has begun there. Any thread; does not wait."""
        self._cancelled.set()
        self._tally.end(self)
        cursor = self._cursor
        if cursor is not None:
            threading.Thread(target=self._send_cancel, args=(cursor,), name="warehouse-cancel", daemon=True).start()

    def _send_cancel(self, cursor: Any) -> None:
        while (command_id := cursor.active_command_id) is None:
            if self._over.wait(CANCEL_PAUSE_S):
                return
        send_cancel(cursor.connection, command_id, self._session.target)

    def _guarded(self, call: Callable[[], pa.Table], *, last: bool = False) -> pa.Table:
        """Make the driver's errors ours; an error after a cancel is the cancel's."""
        try:
            self._check()
            table = call()
            self._check()
            return table
        except DRIVER_ERRORS as exc:
            self._check()
            if session_lost(exc) and not last:
                raise _SessionLost(exc) from exc
            raise translate(exc, self._session.target) from exc

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise StatementCancelled("the statement was cancelled")

    def _run_once(self) -> pa.Table:
        self._cursor = cursor = self._session.cursor()
        self._check()  # what is cancelled from here on sees the cursor
        self._tally.begin(self)
        try:
            if self._at_once:
                cursor.execute(self._sql, self._parameters or None)
            else:
                cursor.execute_async(self._sql, self._parameters or None)
                self._poll(cursor)
        finally:
            self._tally.end(self)
        if not self._at_once:
            # As Cursor.get_async_execution_result, which would first ask twice more for the state.
            cursor.active_result_set = cursor.backend.get_execution_result(cursor.active_command_id, cursor)
        self._ledger = _Ledger(cursor.active_result_set, self._cancelled)
        return self._fetch()

    def _poll(self, cursor: Any) -> None:
        delay = POLL_MIN_S
        while True:
            if self._cancelled.is_set():
                # It may have come before there was anything to cancel.
                cursor.cancel()
                self._check()
            state = cursor.get_query_state()
            if state is CommandState.SUCCEEDED:
                return
            if state is CommandState.CANCELLED:
                self._check()
                raise WarehouseUnavailable(f"the statement was cancelled on {self._session.target} by somebody else")
            if state not in (CommandState.PENDING, CommandState.RUNNING):
                raise WarehouseRefused(f"the statement ended as {state.name} on {self._session.target}")
            self._cancelled.wait(delay)
            delay = min(delay * 1.5, POLL_MAX_S)

    def _fetch(self) -> pa.Table:
        table = as_table(self._cursor.fetchmany_arrow(self._max_rows), self._cursor.description)
        self.fetched += table.num_rows
        self.last_bytes = table.nbytes  # of many columns: not for nothing
        self._tally.read(table.num_rows, self.last_bytes)
        if table.num_rows == 0 and self._ledger is not None and self._ledger.promised != self.fetched:
            raise ResultTruncated(
                f"{self._session.target} announced {self._ledger.promised} rows and sent {self.fetched}; run the query "
                "again"
            )
        return table


class _SessionLost(Exception):
    """The warehouse no longer knows the session; nothing was fetched yet."""


class _Ledger:
    """Stands between a result set and its backend and adds up the rows that each answer promises.

    The driver believes a short answer: it has ended results early without an error (its issues 181, 383).
    """

    EMPTY_ANSWER_PAUSE_S = 0.1

    def __init__(self, result: Any, cancelled: threading.Event) -> None:
        self._backend = result.backend
        self._cancelled = cancelled
        self.promised = 0
        self._enter(result.results)
        result.backend = self

    def fetch_results(self, **arguments: Any) -> Any:
        """One more answer. Between answers is where a cancelled reader of an endless result stops."""
        answer = self._backend.fetch_results(**arguments)
        rows = self._enter(answer[0])
        if rows == 0 and answer[1]:
            # "More to come, but nothing yet": the driver would ask again without a pause.
            self._cancelled.wait(self.EMPTY_ANSWER_PAUSE_S)
        if self._cancelled.is_set():
            raise StatementCancelled("the statement was cancelled")
        return answer

    def _enter(self, queue: Any) -> int:
        links = getattr(queue, "result_links", None)
        if links is None:
            rows = int(getattr(queue, "n_valid_rows", 0))
            self.promised += rows
            return rows
        before = self.promised
        for link in links:
            if link.startRowOffset > self.promised:
                raise ResultTruncated(
                    f"the warehouse left out the rows {self.promised} to {link.startRowOffset} of the result; run the "
                    "query again"
                )
            self.promised += link.rowCount
        return self.promised - before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def as_table(rows: Any, description: Any) -> pa.Table:
    """An Arrow table; results of some catalog commands come column by column instead."""
    if isinstance(rows, pa.Table):
        return rows
    names = [column[0] for column in description]
    return pa.Table.from_arrays([pa.array(column) for column in rows.column_table], names=names)
