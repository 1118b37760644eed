"""Databricks SQL warehouses: run one statement, read its rows as Arrow batches, cancel it at any time.

The unmodified databricks-sql-connector over Thrift is below this; nothing of it shows above, and its errors come out as
BLADE's. A `Warehouse` is one session and runs one statement at a time; whoever wants two opens two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from types import TracebackType

import pyarrow as pa

from blade_server import tracing
from blade_server.errors import BladeError, Deadline, StatementCancelled, WarehouseRefused
from blade_server.warehouse.meter import Meter
from blade_server.warehouse.schema import clean, conform
from blade_server.warehouse.session import Session
from blade_server.warehouse.statement import Statement
from blade_server.warehouse.tally import Tally
from blade_server.warehouse.target import Target

MAX_BATCH_ROWS = 10_000

CLOSE_WAIT_S = 1.0
"""How long `close` waits for the warehouse to confirm; then it is left to a background thread."""


class Warehouse:
    """One session, opened with the first statement. Close it, also after errors: it holds a thread and a session.

    `cancel` and `close` may be called from any thread; the rest belongs to one thread at a time.
    """

    def __init__(
        self,
        target: Target,
        source: str = "",
        *,
        tally: Tally | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            target: where it is.
            source: whose rows are read, for the metrics; empty: nobody's yet.
            tally: is told what the statements take.
            tags: what its statements are for, shown in the warehouse's own history of queries; no secret.
        """
        self.target = target
        self._source = source
        self._tally = tally or Tally()
        self._tags = {name: value for name, value in (tags or {}).items() if value}
        self._lock = threading.Lock()
        self._session = Session(target, self._tags)
        self._result: Result | None = None
        self._cancel_next = False
        self._closed = False

    def execute(
        self,
        sql: str,
        parameters: Mapping[str, str] | None = None,
        *,
        max_batch_rows: int = MAX_BATCH_ROWS,
        timeout_s: float | None = None,
        at_once: bool = False,
    ) -> Result:
        """Run a statement; returns when it has finished running and its first rows are here.

        The result of the statement before ends. Opens the session if there is none, and once more if the warehouse has
        forgotten it.

        Args:
            sql: one statement; `:name` stands for a parameter.
            parameters: values by name, sent apart from the SQL, as strings.
            max_batch_rows: most rows of one batch.
            timeout_s: longest wait in all; None: as long as it takes.
            at_once: the result is small, a count say: it comes with the answer to the first request. A cancel in its
                first seconds frees the caller at once, but reaches the warehouse only after them.

        Raises:
            WarehouseRefused: the SQL.
            WarehouseDenied: the credentials.
            WarehouseUnavailable: no answer, or none that helps.
            StatementCancelled: `cancel` or `close` was called.
            Deadline: `timeout_s` is over; the statement is cancelled.
        """
        with tracing.span("statement", self._attributes, outward=True):
            return self._executed(sql, parameters or {}, max_batch_rows, timeout_s, at_once=at_once)

    @property
    def _attributes(self) -> tracing.Attributes:
        return {
            "db.system.name": "databricks",
            "server.address": self.target.hostname,
            "blade.warehouse.id": self.target.warehouse_id,
        }

    def _executed(
        self, sql: str, parameters: Mapping[str, str], max_batch_rows: int, timeout_s: float | None, *, at_once: bool
    ) -> Result:
        result = self._begin(sql, parameters, max_batch_rows, at_once)
        try:
            result._start(timeout_s)
        except WarehouseRefused as exc:
            result._meter.failed(exc)
            result.close()
            raise
        except BaseException as exc:
            result._meter.failed(exc)
            result._abandon()
            raise
        return result

    def cancel(self) -> None:
        """End the running statement, or the next one if none is running. Answers at once."""
        with self._lock:
            if self._result is not None and self._result.running:
                self._result._abandon()
            else:
                self._cancel_next = True

    def close(self) -> None:
        """End the statement and the session. Quick, whatever the state of the warehouse."""
        with self._lock:
            self._closed = True
            if self._result is not None:
                self._result._leave()
            # One that was given up is busy with a call that may take long; its thread closes it.
            given_up = self._session.retired
            ended = self._session.retire()
        if not given_up:
            with suppress(TimeoutError):
                ended.result(CLOSE_WAIT_S)

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, sql: str, parameters: Mapping[str, str], max_batch_rows: int, at_once: bool) -> Result:
        with self._lock:
            if self._closed:
                raise StatementCancelled("the warehouse connection was closed")
            if self._cancel_next:
                self._cancel_next = False
                raise StatementCancelled("the statement was cancelled before it began")
            if self._result is not None:
                self._result.close()
            if self._session.retired:
                self._session = Session(self.target, self._tags)
            statement = Statement(self._session, sql, parameters, max_batch_rows, self._tally, at_once=at_once)
            meter = Meter(self._source, own=self.target.own)
            self._result = Result(self._session, statement, max_batch_rows, meter)
            return self._result


class Result:
    """The rows of one statement, read from the wire as they are asked for. Iterate once.

    Iterating raises WarehouseUnavailable, ResultTruncated or StatementCancelled; then it is over.
    """

    def __init__(self, session: Session, statement: Statement, max_batch_rows: int, meter: Meter) -> None:
        self._session = session
        self._statement = statement
        self._max_batch_rows = max_batch_rows
        self._meter = meter
        self._answer: Future[pa.Table] | None = None
        self._lock = threading.Lock()
        self._cancelled = False
        self._first: pa.Table | None = None
        self.running = True
        self.schema: pa.Schema = pa.schema([])
        """Names and types of the columns: decimal128, times with a zone in UTC, no metadata."""
        self.rows_read = 0
        """Rows handed out so far."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Batches of 1 to `max_batch_rows` rows; none for an empty result."""
        try:
            table, self._first = self._first, None
            while table is not None and table.num_rows:
                self._meter.came(table.num_rows, self._statement.last_bytes)
                for batch in self._batches(table):
                    self.rows_read += batch.num_rows
                    yield batch
                table = self._ask(self._statement.fetch)
        except BladeError as exc:
            self._meter.failed(exc)
            self._abandon()
            raise
        self.close()

    def close(self) -> None:
        """End it, read to its end or not. Does not wait for the warehouse."""
        if self.running:
            self.running = False
            self._meter.ended()
            self._first = None
            with suppress(StatementCancelled):
                self._session.ask(self._statement.close)

    def _batches(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        table = conform(table, self.schema)
        # The wire's pieces can be of a few rows; what follows works batch by batch.
        if table.column(0).num_chunks > 1 if table.num_columns else False:
            table = table.combine_chunks()
        yield from table.to_batches(max_chunksize=self._max_batch_rows)

    def _start(self, timeout_s: float | None) -> None:
        self._first = self._ask(self._statement.run, timeout_s)
        self._meter.began()
        self.schema = clean(self._first.schema)

    def _ask(self, call: Callable[[], pa.Table], timeout_s: float | None = None) -> pa.Table:
        with self._lock:
            if self._cancelled or not self.running:
                raise StatementCancelled("the statement was cancelled")
            self._answer = answer = self._session.ask(call)
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            if answer.done():
                raise
            raise Deadline(f"the statement did not finish within {timeout_s:g} s and was cancelled") from None

    def _leave(self) -> None:
        """Close it; if somebody waits for its rows right now, cancel it under them."""
        answer = self._answer
        if answer is None or answer.done():
            self.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        """Cancel it and give up its session: what the session is doing may take as long as a socket's timeout."""
        with self._lock:
            if self._cancelled or not self.running:
                return
            self._cancelled = True
            self._meter.cancelled()
            answer = self._answer
        self._statement.cancel()
        if answer is not None:
            with suppress(InvalidStateError):
                answer.set_exception(StatementCancelled("the statement was cancelled"))
        self.close()
        self._session.retire()
