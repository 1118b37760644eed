"""What the reader of a direct query holds: rows on their way, and the handles to end it.

Nothing runs yet when it is opened: the statement begins with the first row that is asked for, so whoever leaves can
cancel it at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from blade_server.core.transform.provenance import item_metadata
from blade_server.core.transform.transform import Transform, Transformed
from blade_server.errors import QuotaExceeded
from blade_server.metrics.families import DIRECT_STREAMS
from blade_server.model import Source
from blade_server.warehouse import Result, Warehouse


class Slot:
    """One of the places for queries; given back once, however often it is told to."""

    def __init__(self, slots: threading.BoundedSemaphore) -> None:
        self._slots = slots
        self._taken = False
        self._lock = threading.Lock()

    def take(self) -> Slot:
        """Raises QuotaExceeded at once if there is none free."""
        if not self._slots.acquire(blocking=False):
            raise QuotaExceeded(
                "too many direct queries run at once on this server (BLADE_MAX_DIRECT_QUERIES); try again in a moment",
                subject="direct queries",
            )
        self._taken = True
        DIRECT_STREAMS.inc()
        return self

    def give_back(self) -> None:
        """Let somebody else have it."""
        with self._lock:
            if self._taken:
                self._taken = False
                self._slots.release()
                DIRECT_STREAMS.dec()

    __enter__ = take

    def __exit__(self, *_: object) -> None:
        self.give_back()


class OpenQuery:
    """A query that may run: `run` is called on the warehouse, its own, with the first use of `result`."""

    def __init__(self, warehouse: Warehouse, slot: Slot, run: Callable[[Warehouse], Result]) -> None:
        self._slot = slot
        self._run = run
        self._warehouse = warehouse
        self._result: Result | None = None
        self.warehouse_id = warehouse.target.warehouse_id

    @property
    def result(self) -> Result:
        """The rows, once the statement has finished running."""
        if self._result is None:
            self._result = self._run(self._warehouse)
        return self._result

    def cancel(self) -> None:
        """Any thread, answers at once: the statement is cancelled and the reader's next step raises."""
        self._warehouse.cancel()

    def close(self) -> None:
        """Let the session and the place go. May be called twice."""
        self._warehouse.close()
        self._slot.give_back()


class ItemStream:
    """At most `limit` rows as items; the query may have one more, and `more_rows` says in the end whether it has.

    Iterating raises the warehouse's errors, and StatementCancelled after `cancel`.
    """

    def __init__(self, query: OpenQuery, source: Source, known_classifications: Sequence[str], *, limit: int) -> None:
        self.source = source
        self.more_rows = False
        self._limit = limit
        self._query = query
        self._known = known_classifications
        self.cancel = query.cancel
        self.close = query.close

    def __iter__(self) -> Iterator[Transformed]:
        """Batches of at most 1,000 rows, in the order of the query."""
        result = self._query.result
        transform = Transform(
            self.source,
            result.schema,
            known_classifications=self._known,
            metadata=item_metadata(self.source, self._query.warehouse_id),
        )
        left = self._limit
        for batch in result:
            self.more_rows = batch.num_rows > left
            if left:
                yield transform(batch.slice(0, left))
            left -= min(left, batch.num_rows)


class ArrowStream:
    """Rows as Arrow. Asking for `schema` runs the statement. Errors as with ItemStream."""

    def __init__(self, query: OpenQuery, source: Source) -> None:
        self.source = source
        self._query = query
        self.cancel = query.cancel
        self.close = query.close

    @property
    def schema(self) -> pa.Schema:
        """The columns, as the batches have them."""
        return self._query.result.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Batches of at most 10,000 rows, in the order of the query."""
        return iter(self._query.result)
