"""One pass over a job's result: rows are read, cut into batches, written down and given to the upload threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.catalog import Catalog
from blade_server.core.engine.batches import Batch, Report, Supply
from blade_server.core.engine.ledger import Ledger, Mark
from blade_server.core.engine.read.reader import Chunk, End, Reader
from blade_server.core.engine.record.recorder import Recorder
from blade_server.core.engine.upload.pool import UploadPool
from blade_server.core.transform.transform import Transform
from blade_server.errors import BladeError
from blade_server.model import WaitReason
from blade_server.warehouse import Warehouse

LEAVE_READER_S = 10.0


class Delivery:
    """Belongs to the job's thread; its reader has one of its own, whose chunks, end and failure go to `inbox`.

    `settled_at`: when uploads of a lost server have come to their end, on the monotonic clock; until then rows that it
    may have sent are held back. `only`: see Reader.
    """

    def __init__(
        self,
        *,
        warehouse: Warehouse,
        statement: str,
        transform: Callable[[pa.Schema], Transform],
        ledger: Ledger,
        only: NDArray[np.uint64] | None,
        inbox: Callable[[Chunk | End | BaseException], None],
        catalog: Catalog,
        settled_at: float,
        data_source: str,
        batch_size: int,
        first_block: int,
        recorder: Recorder,
        pool: UploadPool,
        name: str,
    ) -> None:
        self._ledger = ledger
        self._catalog = catalog
        self._settled_at = settled_at
        self._recorder = recorder
        self._pool = pool
        self._supply = Supply(batch_size, data_source)
        self._unsettled: list[Chunk] = []
        self._end: End | None = None
        self.next_block = first_block
        """Number of the next batch, which is that of its block in the ledger."""
        self._reader = Reader(
            warehouse=warehouse, statement=statement, transform=transform, ledger=ledger, inbox=inbox, only=only
        )
        self._thread = threading.Thread(target=self._reader.run, name=f"read {name}", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._pool.returned.clear()  # read again and looked up, like everything intended and not recorded
        self._thread.start()

    def leave(self) -> None:
        """Ends the reading, wherever it is, if it began; the statement is cancelled. Harmless if repeated."""
        self._reader.leave()
        if self._thread.is_alive():  # it may never have been started, for want of threads
            self._thread.join(LEAVE_READER_S)

    @property
    def done(self) -> bool:
        """Whether the result is at its end and something has become of every row of it."""
        return self._end is not None and self._idle

    @property
    def rows_read(self) -> int:
        """Rows of the result, once it is at its end."""
        return self._end.rows_read if self._end else 0

    @property
    def _idle(self) -> bool:
        return not (self._pool.flying or self._pool.returned or self._supply or self._unsettled)

    def take(self, message: Chunk | End) -> None:
        """What the reader sent.

        Holds back what a lost server may be sending at this moment: looked up now, it would be sent twice.
        """
        if isinstance(message, End):
            self._end = message
        elif message.uncertain and time.monotonic() < self._settled_at and not self._replaces():
            certain, uncertain = message.parted()
            self._unsettled.append(uncertain)
            self._supply.add(certain)
        else:
            self._supply.add(message)

    def _replaces(self) -> bool:
        """Whether the catalog puts the same item in its own place: then it may arrive twice."""
        try:
            return self._catalog.capabilities().replaces
        except BladeError:
            return False

    def dispatch(self) -> None:
        """Gives the workers what they have room for, after it is written down."""
        self._let_settled_in()
        pool = self._pool
        while pool.returned and pool.has_room():
            pool.send(pool.returned.popleft())
        batches = self._cut()
        for _ in range(self._supply.used_up()):
            self._reader.consumed()
        if not batches:
            return
        self._recorder.intend(batches)
        for batch in batches:
            self._ledger.written(batch.keys)
            if batch.encoded is not None:
                pool.send(batch)
            else:
                places = range(len(batch.keys))
                self._recorder.add(Report(batch=batch, mark=Mark.ERROR, places=places, errors=batch.errors))

    def _cut(self) -> list[Batch]:
        batches: list[Batch] = []
        size_bytes = 0
        while self._pool.has_room(len(batches), size_bytes):
            batch = self._supply.next(self.next_block, self._end is not None)
            if batch is None:
                break
            self.next_block += 1
            batches.append(batch)
            size_bytes += batch.size_bytes
        return batches

    def _let_settled_in(self) -> None:
        if self._unsettled and time.monotonic() >= self._settled_at:
            for chunk in self._unsettled:
                self._supply.add(chunk, counts=False)
            self._unsettled.clear()

    def waits_for(self) -> tuple[WaitReason, str] | None:
        """Why nothing moves on this side of the uploads, if so."""
        if not self._reader.began.is_set():
            return WaitReason.WAREHOUSE_STARTING, "the warehouse has not answered the query yet"
        if self._unsettled and not (self._pool.flying or self._pool.returned or self._supply):
            return WaitReason.RECOVERING, "uploads that the lost server may have begun have time to end"
        if self._end is None and self._idle:
            return WaitReason.WAREHOUSE_STARTING, "waiting for rows from the warehouse"
        return None
