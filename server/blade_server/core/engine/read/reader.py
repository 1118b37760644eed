"""One pass over a job's result: from the warehouse to chunks of admitted items, in a thread of its own.

It runs ahead of the uploads by at most `AHEAD` chunks of at most `CHUNK_BYTES`, or `TEXT_BYTES` once they are JSON, so
the memory of a job does not depend on the number of its rows, nor much on their width. A run of a sync, which may have
nothing to upload, transforms one more in a second thread while it compares.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import compress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server import tracing
from blade_server.arrow.items import Items
from blade_server.core.engine.batches import Chunk, End
from blade_server.core.engine.ledger import (
    Admissions,
    Contents,
    Ledger,
    Likeness,
    Verdict,
    heads,
    item_key,
    item_keys,
    rejected_key,
)
from blade_server.core.engine.read.ahead import one_ahead
from blade_server.core.engine.sync.comparison import Comparison
from blade_server.core.transform.json_columns import text_bytes
from blade_server.core.transform.transform import Rejected, Transform, Transformed
from blade_server.errors import Reason
from blade_server.metrics.families import JOB_ROWS_READ
from blade_server.model import MAX_ROW_JSON_BYTES, ItemError, Stage
from blade_server.warehouse import Result, Warehouse

CHUNK_ROWS = 10_000
CHUNK_BYTES = 8 << 20
TEXT_BYTES = 4 * CHUNK_BYTES
"""A boolean is a bit in a column and its whole name in JSON: a thousand of them make a gigabyte of 10,000 rows."""
AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One reading of a job's result, from its first row to its last.

    `transform` makes, for the result's schema, what makes its rows items. `only` restricts the job to rows with these
    keys (sorted, see ledger.heads): a retry of failed items. `expected_rows`: None if nobody knows. `first_block`
    numbers the first batch. `comparison`: of a sync's run, whose rows have their columns in the order of names.
    `source`: its name.
    """

    warehouse: Warehouse
    statement: str
    transform: Callable[[pa.Schema], Transform]
    ledger: Ledger
    only: NDArray[np.uint64] | None = None
    expected_rows: int | None = None
    first_block: int = 0
    comparison: Comparison | None = None
    source: str = ""


class Reader:
    """Reads the statement of one pass. Chunks, then End, or else the error, go to `inbox`."""

    def __init__(self, reading: Pass, inbox: Callable[[Chunk | End | BaseException], None]) -> None:
        self._pass = reading
        self._only = reading.only
        self._ledger = reading.ledger
        self._comparison = reading.comparison
        self._contents = Contents(reading.expected_rows)
        self._inbox = inbox
        self._spans = tracing.Often("transform")
        self._room = threading.Semaphore(AHEAD)
        self._left = False
        self.began = threading.Event()
        """Set once the warehouse has answered the query."""

    def consumed(self) -> None:
        """A chunk is out of the way: there is room for another."""
        self._room.release()

    def leave(self) -> None:
        """Ends the thread soon, wherever it is: the statement is cancelled."""
        self._left = True
        self._room.release()
        self._pass.warehouse.cancel()

    def run(self) -> None:
        """The life of the thread."""
        try:
            self._read()
        except BaseException as exc:
            if not self._left:
                self._inbox(exc)

    def _read(self) -> None:
        result = self._pass.warehouse.execute(self._pass.statement, max_batch_rows=CHUNK_ROWS)
        try:
            self.began.set()
            order = self._order(result.schema)
            transform = self._pass.transform(pa.schema([result.schema.field(at) for at in order]))
            parts = (part for batch in self._batches(result) for part in slices(batch.select(order)))
            transformed: Generator[Transformed] = (self._spanned(transform, part) for part in parts)
            if self._comparison is not None:
                transformed = one_ahead(transformed, name="transform")
            with closing(transformed):  # an error has this frame with it, and so would keep the thread
                for some in transformed:
                    chunk = self._chunk(transform, some)
                    self._room.acquire()
                    if self._left:
                        return
                    self._inbox(chunk)
            if not self._left:
                seen = self._comparison.seen if self._comparison else None
                self._inbox(End(rows_read=result.rows_read, seen=seen))
        finally:
            result.close()

    def _batches(self, result: Result) -> Iterator[pa.RecordBatch]:
        rows_read = JOB_ROWS_READ.labels(self._pass.source)
        for batch in result:
            rows_read.inc(batch.num_rows)
            yield batch

    def _order(self, schema: pa.Schema) -> list[int]:
        """In which the columns are taken: a sync's items are the same whatever the order of the table's."""
        places = range(len(schema.names))
        if self._comparison is None:
            return list(places)
        self._comparison.begin(schema)
        return sorted(places, key=schema.names.__getitem__)

    def _spanned(self, transform: Transform, batch: pa.RecordBatch) -> Transformed:
        with self._spans({"blade.rows": batch.num_rows}):
            return self._transformed(transform, batch)

    def _transformed(self, transform: Transform, batch: pa.RecordBatch) -> Transformed:
        if self._only is not None:
            return self._failed_before(transform, batch)
        if self._comparison is None:
            return transform(batch)
        batch, without = self._comparison.without_cursor(batch)
        items, rejected = transform(batch)
        if without is not None:
            rejected += self._comparison.rejected(transform(without), transform.fingerprints(without))
        return Transformed(items, rejected)

    def _chunk(self, transform: Transform, transformed: Transformed) -> Chunk:
        items, rejected = transformed
        if self._comparison is not None:
            self._comparison.saw_rejected(rejected)
        ids = item_keys(items.ids)
        admitted = self._admitted(ids)
        keys, verdicts, repeated = admitted
        likeness = self._contents.compare(ids, items.rows, repeated)
        errors = self._rejections(rejected)
        if not verdicts.any():  # nearly always all are NEW
            if self._comparison is not None:
                return self._comparison.compare(items, ids, admitted, errors)
            return Chunk(items=items, keys=keys, errors=errors)
        again = np.flatnonzero(verdicts == Verdict.DUPLICATE)
        duplicates = _duplicates(items.take(again), likeness[again].tolist(), transform.item_id_field)
        errors += zip((keys[at] for at in again.tolist()), duplicates, strict=True)
        if self._comparison is not None:
            return self._comparison.compare(items, ids, admitted, errors)
        kept = np.flatnonzero(verdicts <= Verdict.UNCERTAIN)
        return Chunk(
            items=items.take(kept),
            keys=[keys[at] for at in kept.tolist()],
            uncertain=frozenset(np.flatnonzero(verdicts[kept] == Verdict.UNCERTAIN).tolist()),
            errors=errors,
        )

    def _admitted(self, ids: Sequence[bytes]) -> Admissions:
        """What the ledger says; of items that a sync knows, what the reading has met is kept with them."""
        found = None if self._comparison is None else self._comparison.meet(ids)
        if found is None or found.again is None:
            return self._ledger.admit(ids)
        return self._ledger.admit_known(ids, found.known, found.again)

    def _failed_before(self, transform: Transform, batch: pa.RecordBatch) -> Transformed:
        """In a retry: the rows that failed, found again by their content or, if that was mended, by their item id."""
        assert self._only is not None
        same = _among(transform.fingerprints(batch), self._only)
        known, others = transform(batch.filter(pa.array(same))), transform(batch.filter(pa.array(~same)))
        keys = item_keys(others.items.ids)
        failed = _among(keys, self._only) | _among([rejected_key(key) for key in keys], self._only)
        rejected = compress(others.rejected, _among([_rejected_key(row) for row in others.rejected], self._only))
        items = Items.joined([known.items, others.items.take(np.flatnonzero(failed))])
        return Transformed(items, [*known.rejected, *rejected])

    def _rejections(self, rejected: Sequence[Rejected]) -> list[tuple[bytes, ItemError]]:
        """A rejected row without an id stands under its content, so two equal ones are two errors."""
        keys, verdicts, _ = self._ledger.admit([_rejected_key(row) for row in rejected])
        left = np.flatnonzero(verdicts != Verdict.DONE).tolist()
        return [(keys[at], rejected[at].error) for at in left]


def _rejected_key(row: Rejected) -> bytes:
    return rejected_key(item_key(row.error.item_id)) if row.error.item_id else row.fingerprint


def _among(keys: Sequence[bytes], only: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not keys or not len(only):
        return np.zeros(len(keys), dtype=np.bool_)
    head = heads(keys)
    among: NDArray[np.bool_] = only[np.minimum(np.searchsorted(only, head), len(only) - 1)] == head
    return among


_LIKENESS = {
    Likeness.EQUAL: " and is equal to this one in every column",
    Likeness.OTHER: " and holds other values",
    Likeness.UNKNOWN: ", which was read too long before to be compared",
}


def _duplicates(items: Items, likeness: Sequence[int], field: str) -> Iterator[ItemError]:
    for item, like in zip(items, map(Likeness, likeness), strict=True):
        yield ItemError(
            item_id=item.item_id,
            stage=Stage.TRANSFORM,
            reason=Reason.DUPLICATE_ITEM_ID,
            field=field,
            message=f"another row of this job has the item id {item.item_id!r}{_LIKENESS[like]}; "
            "the first one read stays",
            row_json=item.data_json[:MAX_ROW_JSON_BYTES].decode("utf-8", "ignore"),
            identical=like is Likeness.EQUAL,
        )


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts that take bounded memory once they are JSON."""
    fitting = (
        batch.num_rows * CHUNK_BYTES // max(1, batch.nbytes),
        batch.num_rows * TEXT_BYTES // max(1, text_bytes(batch.columns, batch.schema.names)),
    )
    rows = max(1, min(CHUNK_ROWS, *fitting))
    for at in range(0, batch.num_rows, rows):
        yield batch.slice(at, rows)
