"""The deletes of a sync's run, after all its rows were read and sent: cut into batches, written down, given to the
upload threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from blade_server.core.engine.batches import Batch
from blade_server.core.engine.run import Run
from blade_server.core.engine.sync.known import Absent
from blade_server.core.engine.upload.threads import UploadThreads
from blade_server.model import WaitReason


class Deletion:
    """Belongs to the job's thread."""

    def __init__(self, run: Run, absent: Iterator[Absent], uploads: UploadThreads) -> None:
        self._run = run
        self._uploads = uploads
        self._batches = _cut(absent, run.claim.job.spec.batch_size)
        self._next = next(self._batches, None)
        self.next_block = run.next_block
        """Number of the next batch, which is that of its block in the ledger."""

    def start(self) -> None:
        """Begins."""
        self._uploads.returned.clear()

    def leave(self) -> None:
        """Nothing runs here."""

    @property
    def done(self) -> bool:
        """Whether something has become of every item."""
        return self._next is None and not (self._uploads.flying or self._uploads.returned)

    def dispatch(self) -> None:
        """Gives the upload threads what they have room for, after it is written down."""
        self._uploads.send_due()
        batches: list[Batch] = []
        while self._next is not None and self._uploads.has_room(len(batches)):
            batches.append(Batch.of_deletes(self.next_block, self._next.keys, self._next.item_ids))
            self.next_block += 1
            self._next = next(self._batches, None)
        if batches:
            self._run.recorder.intend(batches)
            for batch in batches:
                self._uploads.send(batch)

    def why_waiting(self) -> tuple[WaitReason | None, str]:
        """Why nothing moves, if so."""
        return self._run.control.why_waiting()


def _cut(absent: Iterator[Absent], size: int) -> Iterator[Absent]:
    for some in absent:
        for at in range(0, len(some.keys), size):
            yield Absent(some.keys[at : at + size], some.item_ids[at : at + size])
