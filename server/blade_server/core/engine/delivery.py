"""One pass over a job's result: rows are read, cut into batches, written down and given to the upload threads."""

from __future__ import annotations

import threading
import time

from blade_server.core.engine.batches import Batch, Chunk, End, Report, Supply
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.read.reader import Pass, Reader
from blade_server.core.engine.run import Run
from blade_server.core.engine.upload.threads import UploadThreads
from blade_server.model import WaitReason

LEAVE_READER_S = 10.0


class Delivery:
    """Belongs to the job's thread; its reader has one of its own, whose chunks, end and failure go to the inbox."""

    def __init__(self, run: Run, reading: Pass, uploads: UploadThreads) -> None:
        self._pass = reading
        self._run = run
        self._recorder = run.recorder
        self._control = run.control
        self._uploads = uploads
        job = run.claim.job
        self._supply = Supply(job.spec.batch_size, job.source.data_source)
        self._unsettled: list[Chunk] = []
        self._end: End | None = None
        self.next_block = reading.first_block
        """Number of the next batch, which is that of its block in the ledger."""
        self._reader = Reader(reading, run.inbox.put)
        self._thread = threading.Thread(target=self._reader.run, name=f"read {job.job_id}", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._uploads.returned.clear()  # read again and looked up, like everything intended and not recorded
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
        return not (self._uploads.flying or self._uploads.returned or self._supply or self._unsettled)

    def take(self, message: Chunk | End) -> None:
        """What the reader sent.

        Holds back what a lost server may be sending at this moment: looked up now, it would be sent twice.
        """
        if isinstance(message, End):
            self._end = message
        elif message.uncertain and time.monotonic() < self._pass.settled_at and not self._run.replaces():
            certain, uncertain = message.parted()
            self._unsettled.append(uncertain)
            self._supply.add(certain)
        else:
            self._supply.add(message)

    def dispatch(self) -> None:
        """Gives the upload threads what they have room for, after it is written down."""
        self._let_settled_in()
        uploads = self._uploads
        while uploads.returned and uploads.has_room():
            uploads.send(uploads.returned.popleft())
        batches = self._cut()
        for _ in range(self._supply.used_up()):
            self._reader.consumed()
        if not batches:
            return
        self._recorder.intend(batches)
        for batch in batches:
            self._pass.ledger.written(batch.keys)
            if batch.encoded is not None:
                uploads.send(batch)
            else:
                places = range(len(batch.keys))
                report = Report(batch=batch, mark=Mark.ERROR, places=places, errors=batch.errors)
                self._run.count(report)
                self._recorder.add(report)

    def _cut(self) -> list[Batch]:
        batches: list[Batch] = []
        size_bytes = 0
        while self._uploads.has_room(len(batches), size_bytes):
            batch = self._supply.next(self.next_block, self._end is not None)
            if batch is None:
                break
            self.next_block += 1
            batches.append(batch)
            size_bytes += batch.size_bytes
        return batches

    def _let_settled_in(self) -> None:
        if self._unsettled and time.monotonic() >= self._pass.settled_at:
            for chunk in self._unsettled:
                self._supply.add(chunk, counts=False)
            self._unsettled.clear()

    def why_waiting(self) -> tuple[WaitReason | None, str]:
        """Why nothing moves, if so: on this side of the uploads, or there."""
        if not self._reader.began.is_set():
            return WaitReason.WAREHOUSE_STARTING, "the warehouse has not answered the query yet"
        if self._unsettled and not (self._uploads.flying or self._uploads.returned or self._supply):
            return WaitReason.RECOVERING, "uploads that the lost server may have begun have time to end"
        if self._end is None and self._idle:
            return WaitReason.WAREHOUSE_STARTING, "waiting for rows from the warehouse"
        return self._control.why_waiting()
