"""The deletes of one batch: what is tried again, when the catalog is waited for. As send_batch, and simpler.

Whoever deletes is the only one who writes these items, so a delete that may have taken place is repeated: what is gone
already is gone.

| the catalog                              | what happens                                                            |
|------------------------------------------|-------------------------------------------------------------------------|
| says that it is gone, or never was there | DELETED                                                                 |
| refuses it (409, 412, any other 4xx)     | ERROR with DELETE_REFUSED: the item stays                               |
| refuses a request of several             | they are deleted one by one                                             |
| 401, 403                                 | the job fails                                                           |
| 429, 503 with Retry-After                | everybody waits; no attempt is used up                                  |
| 5xx, no answer                           | more attempts; if they fail too and its health check does, the job      |
|                                          | waits (CATALOG_DOWN); if that passes, ERROR once patience is over       |
| deletes nothing any more                 | raises Precondition (DELETE_REFUSED)                                    |
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from blade_server.catalog import Deleted
from blade_server.core import retry
from blade_server.core.engine.batches import Batch, Doubt, Report
from blade_server.core.engine.halt import HaltedError
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.upload.send_batch import SendTools, count_failure
from blade_server.errors import CatalogRejected, CatalogUnavailable, Reason, StorageUnavailable
from blade_server.model import ItemError, Stage, WaitReason


def delete_batch(batch: Batch, tools: SendTools) -> Iterator[Report]:
    """Deletes the open items of a batch; yields what becomes of them as it happens.

    Raises HaltedError if the job must not go on (what is open stays so), and what ends the whole job: CatalogDenied,
    Precondition.
    """
    batch.due = 0.0
    yield from _Deleting(batch, tools).run()


class _Deleting:
    """One batch on its way."""

    def __init__(self, batch: Batch, tools: SendTools) -> None:
        self._batch = batch
        self._tools = tools
        self._attempt = 0
        self._failing_since = 0.0
        self._sent_at = 0.0
        self._one_by_one = False

    def run(self) -> Iterator[Report]:
        """Until something has become of each."""
        while part := self._batch.open:
            part = part[: 1 if self._one_by_one else self._tools.pace.largest or len(part)]
            try:
                yield from self._delete(part)
            except CatalogRejected as exc:
                if len(part) == 1:
                    yield from self._refused(part, exc.message)
                self._one_by_one = True
            except CatalogUnavailable as exc:
                yield from self._on_unavailable(part, exc)
            except StorageUnavailable:
                self._tools.control.wait(0.5, WaitReason.RETRY_BACKOFF, "PostgreSQL does not answer")

    def _delete(self, part: list[int]) -> Iterator[Report]:
        tools, item_ids = self._tools, self._batch.item_ids
        assert item_ids is not None
        tools.pace.wait_for_catalog(tools.control)
        tools.pace.wait(len(part), tools.control)
        began, self._sent_at = time.monotonic(), 0.0
        with tools.control.busy():
            try:
                deleted = tools.catalog.delete(
                    tools.data_source, [item_ids[at] for at in part], before_request=self._before_request
                )
            except HaltedError:
                self._may_be_gone(part)
                raise
        if sum(refusal.retry for refusal in deleted.refused.values()) < len(part):
            tools.outage.passed(began)
            self._attempt, self._failing_since = 0, 0.0
        tools.throttle.sent(len(part) - len(deleted.refused))
        yield from self._became_of(part, deleted)

    def _before_request(self) -> None:
        self._tools.control.check()  # the look at the lease comes right before each request
        self._sent_at = time.monotonic()

    def _became_of(self, part: Sequence[int], deleted: Deleted) -> Iterator[Report]:
        gone = [at for place, at in enumerate(part) if place not in deleted.refused]
        if gone:
            self._batch.mark(gone, Mark.DELETED)
            yield Report(batch=self._batch, mark=Mark.DELETED, places=gone)
        for place, refusal in deleted.refused.items():
            if not refusal.retry:
                yield from self._refused([part[place]], refusal.reason)
        if deleted.at_work:
            self._may_be_gone([part[place] for place in deleted.at_work])
            self._tools.outage.unanswered(self._sent_at + self._tools.catalog.settle_s)
        if deleted.interrupted is not None:
            raise deleted.interrupted
        again = [refusal.reason for refusal in deleted.refused.values() if refusal.retry]
        if again:
            raise CatalogUnavailable(f"the catalog could not delete {len(again)} of {len(part)} items: {again[0]}")

    def _on_unavailable(self, part: Sequence[int], exc: CatalogUnavailable) -> Iterator[Report]:
        tools = self._tools
        count_failure(tools.destination, exc)
        left = [at for at in part if self._batch.marks[at] == Mark.INTENDED]
        self._failing_since = self._failing_since or time.monotonic()
        if exc.maybe_stored:
            self._may_be_gone(left)
        if exc.at_work:
            tools.outage.unanswered(self._sent_at + tools.catalog.settle_s)
        if exc.throttled:
            tools.throttle.slow_down(exc.retry_after_s if exc.retry_after_s is not None else tools.retry.base_s)
        elif self._attempt < tools.retry.attempts:
            self._attempt += 1
            seconds = retry.delay_s(self._attempt, tools.retry.base_s, exc)
            detail = f"attempt {self._attempt + 1} of {tools.retry.attempts + 1} in {seconds:.1f} s: {exc.message}"
            tools.control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)
        elif tools.outage.sit_out(tools.catalog, tools.control, exc.message):
            self._attempt, self._failing_since = 0, 0.0
        elif tools.outage.convicts(self._failing_since):
            yield from self._refused(left, exc.message, exc.reason, Mark.DOUBTED)
        else:
            detail = f"deletes fail although the catalog's health check passes: {exc.message}"
            tools.control.wait(tools.retry.base_s or 0.1, WaitReason.CATALOG_DOWN, detail)
            self._attempt = 0

    def _may_be_gone(self, places: Sequence[int]) -> None:
        """They were sent: nobody may say that they were not."""
        for at in places:
            self._batch.doubts[at] = Doubt()

    def _refused(
        self,
        places: Sequence[int],
        message: str,
        reason: Reason = Reason.DELETE_REFUSED,
        mark: Mark = Mark.ERROR,
    ) -> Iterator[Report]:
        item_ids = self._batch.item_ids
        assert item_ids is not None
        errors = [
            (
                self._batch.keys[at],
                ItemError(
                    item_id=item_ids[at],
                    stage=Stage.UPLOAD,
                    reason=reason,
                    message=f"it could not be deleted: {message}",
                    attempts=self._attempt + 1,
                ),
            )
            for at in places
        ]
        self._batch.mark(places, mark)
        yield Report(batch=self._batch, mark=mark, places=places, errors=errors)
