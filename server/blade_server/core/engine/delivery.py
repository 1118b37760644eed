"""One pass over a job's result: rows are read, cut into batches, written down and given to the upload threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextvars import copy_context

from blade_server.core.engine.batches import Batch, Chunk, Doubt, End, Equal, Report, Seen, Supply
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.read.reader import Pass, Reader
from blade_server.core.engine.run import Run
from blade_server.core.engine.upload.threads import UploadThreads
from blade_server.core.transform.classifications import ABOVE_CEILING
from blade_server.model import WaitReason

LEAVE_READER_S = 10.0


class Delivery:
    """Belongs to the job's thread; its reader has one of its own, whose chunks, end and failure go to the inbox."""

    def __init__(self, run: Run, reading: Pass, uploads: UploadThreads) -> None:
        self._run = run
        self._pass = reading
        self._recorder = run.recorder
        self._control = run.control
        self._uploads = uploads
        job = run.claim.job
        self._supply, self._doubtful = (Supply(job.spec.batch_size, job.source.data_source) for _ in range(2))
        self._end: End | None = None
        self.next_block = reading.first_block
        """Number of the next batch, which is that of its block in the ledger."""
        self._reader = Reader(reading, run.inbox.put)
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._reader.run,), name=f"read {job.job_id}", daemon=True
        )

    def start(self) -> None:
        """Begins to read."""
        for batch in self._uploads.returned:  # read again and looked up, like everything intended and not recorded
            self._run.settled_at = max([self._run.settled_at, *(doubt.settled_at for doubt in batch.doubts.values())])
        self._uploads.returned.clear()
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
    def seen(self) -> Seen | None:
        """What the reading of a sync's run has met, once it is at its end."""
        return self._end.seen if self._end else None

    @property
    def _idle(self) -> bool:
        return not (self._uploads.flying or self._uploads.returned or self._supply or self._doubtful)

    def take(self, message: Chunk | End) -> None:
        """What the reader sent. What an earlier claim may have sent gets batches of its own: they may have to wait."""
        if isinstance(message, End):
            self._end = message
            return
        if message.equal is not None:
            self._take_equal(message.equal)
        if message.uncertain:
            self._take_uncertain(message)
        else:
            self._supply.add(message)

    def _take_equal(self, equal: Equal) -> None:
        """Rows that are done with as soon as they are recorded."""
        self._run.reported.begin(len(equal.keys))
        self._run.reported.add(len(equal.keys), errors=False, limits=self._run.limits)
        self.next_block += self._recorder.add_equal(self.next_block, equal, self._pass.ledger.written)

    def _take_uncertain(self, chunk: Chunk) -> None:
        certain, uncertain = chunk.parted()
        mostly_certain = len(certain.items) >= len(uncertain.items)
        self._supply.add(certain, counts=mostly_certain)
        self._doubtful.add(uncertain, counts=not mostly_certain)

    def dispatch(self) -> None:
        """Gives the upload threads what they have room for, after it is written down."""
        uploads = self._uploads
        uploads.send_due()
        batches = self._cut()
        for _ in range(self._supply.used_up() + self._doubtful.used_up()):
            self._reader.consumed()
        if not batches:
            return
        self._recorder.intend(batches)
        self._run.reported.begin(sum(len(batch.keys) for batch in batches))
        for batch in batches:
            self._pass.ledger.written(batch.keys)
            if batch.encoded is not None:
                uploads.send(batch)
            else:
                self._reject(batch)

    def _reject(self, batch: Batch) -> None:
        """Rows that are no items. In a sync those above the ceiling of its destination are skipped, run after run."""
        skips = self._run.claim.task is not None
        above = [at for at, (_, error) in enumerate(batch.errors) if skips and error.reason is ABOVE_CEILING]
        if above:
            self._recorder.add(Report(batch=batch, mark=Mark.SKIPPED, places=above))
            self._run.reported.add(len(above), errors=False, limits=self._run.limits)
        left = sorted(set(range(len(batch.keys))) - set(above))
        if left:
            errors = [batch.errors[at] for at in left]
            report = Report(batch=batch, mark=Mark.ERROR, places=left, errors=errors)
            self._run.count(report)
            self._recorder.add(report)

    def _cut(self) -> list[Batch]:
        batches: list[Batch] = []
        size_bytes = 0
        while self._uploads.has_room(len(batches), size_bytes):
            batch = self._next_batch()
            if batch is None:
                break
            self.next_block += 1
            batches.append(batch)
            size_bytes += batch.size_bytes
        return batches

    def _next_batch(self) -> Batch | None:
        at_end = self._end is not None
        doubtful = self._doubtful.next(self.next_block, at_end, self._run.settled_at) if self._doubtful else None
        return doubtful or self._supply.next(self.next_block, at_end)

    def why_waiting(self) -> tuple[WaitReason | None, str]:
        """Why nothing moves, if so: on this side of the uploads, or there."""
        if not self._reader.began.is_set():
            return WaitReason.WAREHOUSE_STARTING, "the warehouse has not answered the query yet"
        if self._uploads.returned and not self._uploads.flying:
            return self._why_held()
        if self._end is None and self._idle:
            return WaitReason.WAREHOUSE_STARTING, "waiting for rows from the warehouse"
        return self._control.why_waiting()

    def _why_held(self) -> tuple[WaitReason | None, str]:
        """What all batches that are left wait for."""
        now = time.monotonic()
        doubts = list(self._doubts())
        if not doubts or any(batch.due <= now for batch in self._uploads.returned):
            return None, ""
        left_s = max(0.0, max(doubt.settled_at for doubt in doubts) - now)
        wait = f"{len(doubts)} items wait for at most {-(-left_s // 5) * 5:.0f} s more and are looked up meanwhile"
        if any(doubt.request for doubt in doubts):
            return WaitReason.RETRY_BACKOFF, f"{wait}: their uploads got no answer, and the catalog may yet store them"
        return WaitReason.RECOVERING, f"{wait}: the server that had the job before may have begun to upload them"

    def _doubts(self) -> Iterator[Doubt]:
        for batch in self._uploads.returned:
            yield from batch.doubts.values()
