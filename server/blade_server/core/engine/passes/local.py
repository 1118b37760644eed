"""Passes over a job's result in this process: one thread reads, others upload.

reader thread --chunks--> the job's thread --batches--> upload threads
                           |       ^                   |
                   intend, |       +----- reports -----+
                   record  v
                       the ledger
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from queue import Empty

from blade_server import tracing
from blade_server.core.engine.batches import Batch, Chunk, End, Report, Seen
from blade_server.core.engine.deletion import Deletion
from blade_server.core.engine.delivery import Delivery
from blade_server.core.engine.halt import Halt, HaltedError
from blade_server.core.engine.read.reader import Pass
from blade_server.core.engine.run import Message, Run
from blade_server.core.engine.sync.known import Absent
from blade_server.core.engine.upload.delete_batch import delete_batch
from blade_server.core.engine.upload.outage import Outage
from blade_server.core.engine.upload.pace import Pace, SharedRate
from blade_server.core.engine.upload.send_batch import SendTools, send_batch
from blade_server.core.engine.upload.threads import UploadThreads
from blade_server.storage.engine.paces import PaceStore


class LocalPasses:
    """Belongs to the job's thread. One pass at a time; the upload threads are the same for all passes of a run."""

    def __init__(self, run: Run) -> None:
        """Nothing runs yet."""
        self._run = run
        self._uploads = UploadThreads(
            self._send,
            run.control,
            run.tell,
            threads=run.claim.job.spec.workers,
            name=run.claim.job_id,
        )
        self._outage = Outage(run.tools.policy.patience_s)
        self._upload_spans = tracing.Often("upload", outward=True)
        self._delete_spans = tracing.Often("delete", outward=True)
        self._delivery: Delivery | Deletion | None = None
        self.failure: BaseException | None = None
        """What ended the last pass early."""
        self.rows_read = 0
        """Rows of the result, once a pass got to its end."""
        self.seen: Seen | None = None
        """What that pass of a sync's run has met."""

    def _send(self, batch: Batch) -> Iterator[Report]:
        send, spans = (delete_batch, self._delete_spans) if batch.deletes else (send_batch, self._upload_spans)
        with spans({"blade.batch.number": batch.number, "blade.batch.items": len(batch.keys)}):
            yield from send(batch, self._send_tools)

    @cached_property
    def _send_tools(self) -> SendTools:
        return _send_tools(self._run, self._outage)

    @property
    def settled_at(self) -> float:
        """Until then a request of this claim may be at work (monotonic); 0: it got an answer to each."""
        return self._outage.settled_at

    def close(self) -> None:
        """Ends the upload threads, each after what it holds."""
        self._uploads.close()

    @property
    def flying(self) -> int:
        """Batches on their way."""
        return self._uploads.flying

    @property
    def returned(self) -> list[Batch]:
        """Batches that came back with items that nothing has become of."""
        return list(self._uploads.returned)

    def deliver(self, reading: Pass) -> Iterator[None]:
        """Reads the result once and gets every new row of it recorded, by turns of at most 0.1 s.

        Between them whoever iterates may pause. Raises what ended the pass early.
        """
        delivery = Delivery(self._run, reading, self._uploads)
        yield from self._turns(delivery)
        self.rows_read, self.seen = delivery.rows_read, delivery.seen

    def delete(self, absent: Iterator[Absent]) -> Iterator[None]:
        """Deletes items and gets each of them recorded, by turns as `deliver`; after it, and once."""
        self.leave()
        yield from self._turns(Deletion(self._run, absent, self._uploads))

    def _turns(self, delivery: Delivery | Deletion) -> Iterator[None]:
        run = self._run
        self.failure = None
        self._delivery = delivery
        delivery.start()
        run.progress.went_on()
        run.reported.anew()
        while not delivery.done:
            yield
            self._raise_if_over()
            delivery.dispatch()
            if run.recorder.due(delivery.why_waiting):
                run.record(*delivery.why_waiting())
                run.check_errors()
            self.take(0.1)
        run.record()
        run.check_errors()

    def _raise_if_over(self) -> None:
        if self.failure is not None:
            raise self.failure
        halted = self._run.control.halted
        if halted not in {None, Halt.PAUSE}:
            raise HaltedError(halted)

    def take(self, timeout_s: float) -> None:
        """Takes in what threads have to tell, waiting at most so long for the first word."""
        inbox = self._run.inbox
        try:
            message = inbox.get(timeout=timeout_s) if timeout_s else inbox.get_nowait()
            while True:
                self._take_in(message)
                message = inbox.get_nowait()
        except Empty:
            return

    def _take_in(self, message: Message) -> None:
        match message:
            case Report():
                self._run.recorder.add(message)
                if message.left:
                    self._uploads.take_back(message.batch)
            case Chunk() | End():
                if isinstance(self._delivery, Delivery):
                    self._delivery.take(message)
            case BaseException():
                self.failure = self.failure or message

    def drain(self) -> None:
        """Waits until nothing is in flight and records all of it. What was not sent stays in `returned`."""
        run = self._run
        self.leave()
        while self._uploads.flying:
            self.take(1.0)
            if run.control.halted is not Halt.LOST and run.recorder.due(run.control.why_waiting):
                run.record_rest()
        self.take(0)
        if run.control.halted is not Halt.LOST:
            run.record_rest()

    def leave(self) -> None:
        """Ends the pass, if there is one."""
        if self._delivery is not None:
            self._delivery.leave()
            self._run.next_block = self._delivery.next_block
            self._delivery = None


def _send_tools(run: Run, outage: Outage) -> SendTools:
    tools, job, endpoint = run.tools, run.claim.job, run.endpoint
    source = job.source
    rates = {
        f"source:{source.name}": source.config.items_per_second,
        f"destination:{job.spec.destination}": endpoint.destination.items_per_second,
    }
    return SendTools(
        catalog=endpoint.catalog,
        control=run.control,
        pace=Pace(
            run.limiter,
            endpoint.throttle,
            shared=[
                SharedRate(rate, partial(_turn, tools.stores.paces, key, rate)) for key, rate in rates.items() if rate
            ],
        ),
        throttle=endpoint.throttle,
        outage=outage,
        retry=run.retry,
        data_source=source.data_source,
        scope=job.job_id,
        skip_existing=job.spec.skip_existing,
        destination=job.spec.destination,
    )


def _turn(paces: PaceStore, key: str, rate: float, items: int) -> float:
    return paces.reserve(key, items, rate)
