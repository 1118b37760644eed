"""The upload of batches: the workers of one job, what they retry, when they split, when they wait for the catalog.

An upload ends for each item as a mark in its batch and a report in the inbox. The table:

| the catalog                                 | what happens                                                     |
|---------------------------------------------|------------------------------------------------------------------|
| takes it                                    | SUCCESS                                                          |
| refuses one item of a batch (its own 4xx)   | ERROR for that item                                              |
| refuses the request (400, 409, 413, 422 ..) | split in halves until the bad item stands alone: ERROR           |
| 401, 403                                    | the job fails                                                    |
| 429, 503 with Retry-After                   | everybody slows down; no attempt is used up                      |
| 5xx, timeout, reset, refused                | 3 more attempts, 2 s apart and growing; what may have been       |
|                                             | stored is looked up first                                        |
| still so, and its health check fails        | the job waits (CATALOG_DOWN), asks again and goes on by itself   |
| still so, and its health check passes       | split; alone: ERROR, once others came through or patience is out |
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Queue

from blade_server.catalog.http import Catalog
from blade_server.core import retry
from blade_server.core.batches import Batch, Report
from blade_server.core.control import Control, Halt, HaltedError
from blade_server.core.ledger import Mark
from blade_server.core.pacing import Pace, Throttle
from blade_server.errors import BladeError, CatalogRejected, CatalogUnavailable, Reason, StorageUnavailable
from blade_server.model import MAX_ROW_JSON_BYTES, Item, ItemError, Stage, WaitReason

log = logging.getLogger(__name__)

PROBE_S = (1.0, 30.0)
"""A catalog that is down is asked again after 1 s, 2 s, 4 s ... 30 s."""


@dataclass(frozen=True, kw_only=True)
class UploadPolicy:
    """How stubborn uploads are."""

    retry_attempts: int
    retry_base_s: float
    patience_s: float
    skip_existing: bool


class Outage:
    """What the workers of a job know together about a catalog that fails."""

    def __init__(self) -> None:
        self._probing = threading.Lock()
        self.last_success = time.monotonic()
        self.down_until = 0.0
        self._delay_s = PROBE_S[0]

    def passed(self) -> None:
        """An upload was answered well."""
        self.last_success = time.monotonic()
        self._delay_s = PROBE_S[0]

    def sit_out(self, catalog: Catalog, control: Control, detail: str) -> None:
        """Returns once the health check passes. One worker asks, the others wait for it. Raises HaltedError."""
        while True:
            with self._probing:
                if time.monotonic() >= self.down_until:
                    try:
                        catalog.probe()
                    except CatalogUnavailable:
                        self.down_until = time.monotonic() + self._delay_s
                        self._delay_s = min(PROBE_S[1], self._delay_s * 2)
                    else:
                        return
            seconds = max(0.05, self.down_until - time.monotonic())
            control.wait(seconds, WaitReason.CATALOG_DOWN, f"{detail}; asking again in {seconds:.0f} s")


class Uploader:
    """The workers of one job. `work` brings batches, `inbox` gets reports and, if all is lost, the fatal error."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        data_source: str,
        scope: str,
        policy: UploadPolicy,
        pace: Pace,
        throttle: Throttle,
        control: Control,
        inbox: Callable[[Report | BaseException], None],
    ) -> None:
        self._catalog = catalog
        self._data_source = data_source
        self._scope = scope
        self._policy = policy
        self._pace = pace
        self._throttle = throttle
        self._control = control
        self._inbox = inbox
        self._outage = Outage()
        self.work: Queue[Batch | None] = Queue()

    def run(self) -> None:
        """One worker's life: until it gets None."""
        while (batch := self.work.get()) is not None:
            try:
                self._send(batch, batch.open)
            except HaltedError:
                pass  # what is open goes back with the batch
            except BaseException as exc:
                self._control.halt(Halt.FAIL)
                self._inbox(exc)
            self._inbox(Report(batch=batch, left=True))

    def _send(self, batch: Batch, group: list[int], failing_since: float = 0.0) -> None:
        """Sends these items until something has become of each of them.

        `failing_since`: a group of which they are a part began to fail then, so patience with them has begun, too.
        """
        attempt, first_failure = 0, failing_since
        while group:
            part = group
            try:
                part = group[: self._largest()]
                self._attempt(batch, part)
                attempt, first_failure = 0, failing_since
            except CatalogRejected as exc:
                self._isolate(batch, part, exc, attempt + 1)
            except CatalogUnavailable as exc:
                first_failure = first_failure or time.monotonic()
                part = [at for at in part if batch.marks[at] == Mark.INTENDED]
                if exc.maybe_stored:
                    batch.uncertain.update(part)
                if exc.throttled:
                    self._slow_down(exc)
                elif attempt < self._policy.retry_attempts:
                    attempt += 1
                    self._back_off(exc, attempt)
                else:
                    self._outage.sit_out(self._catalog, self._control, exc.message)
                    self._poisoned(batch, part, exc, first_failure)
            except StorageUnavailable:
                # Only pacing asks PostgreSQL here; without it the lease cannot hold either, so nothing is sent.
                self._control.wait(0.5, WaitReason.RETRY_BACKOFF, "PostgreSQL does not answer")
            group = [at for at in group if batch.marks[at] == Mark.INTENDED]

    def _largest(self) -> int:
        most = self._catalog.capabilities().max_batch_items
        return min(most, self._pace.largest or most)

    def _back_off(self, exc: CatalogUnavailable, attempt: int) -> None:
        seconds = retry.delay_s(attempt, self._policy.retry_base_s, exc)
        tries = self._policy.retry_attempts + 1
        detail = f"attempt {attempt + 1} of {tries} in {seconds:.1f} s: {exc.message}"
        self._control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)

    def _isolate(
        self, batch: Batch, part: list[int], exc: BladeError, attempts: int, failing_since: float = 0.0
    ) -> None:
        """Finds the bad item by halves; it stands alone in the end and becomes an error."""
        if len(part) == 1:
            self._give_up(batch, part[0], exc, attempts)
            return
        half = len(part) // 2
        self._send(batch, part[:half], failing_since)
        self._send(batch, part[half:], failing_since)

    def _poisoned(self, batch: Batch, part: list[int], exc: CatalogUnavailable, first_failure: float) -> None:
        """The catalog is well but these items fail: theirs is the fault if others come through, or patience is over."""
        others_passed = self._outage.last_success > first_failure
        if others_passed or time.monotonic() - first_failure > self._policy.patience_s:
            self._isolate(batch, part, exc, self._policy.retry_attempts + 1, first_failure)
            return
        detail = f"uploads fail although the catalog's health check passes: {exc.message}"
        self._control.wait(self._policy.retry_base_s or 0.1, WaitReason.CATALOG_DOWN, detail)

    def _attempt(self, batch: Batch, part: list[int]) -> None:
        part = self._not_stored(batch, part)
        if not part:
            return
        self._pace.wait(len(part), self._control)
        # Nothing may come between this look at the lease and the request.
        self._control.check()
        with self._control.busy():
            answers = self._catalog.upload(self._data_source, [batch.items[at] for at in part], scope=self._scope)
        self._outage.passed()
        sent_bytes = 0
        done, errors, unclear = [], [], []
        for at, answer in zip(part, answers, strict=True):
            if answer.retry:
                unclear.append((at, answer.rejection))
            elif answer.rejection is None:
                done.append((at, Mark.SUCCESS))
                sent_bytes += answer.bytes
            else:
                done.append((at, Mark.ERROR))
                message = f"the catalog refused the item: {answer.rejection}"
                errors.append((batch.keys[at], _error(batch.items[at], CatalogRejected.reason, message, 1)))
        self._throttle.sent(len(done) - len(errors))
        self._report(batch, done, sent_bytes, errors)
        if unclear:
            batch.uncertain.update(at for at, _ in unclear)
            raise CatalogUnavailable(f"the catalog could not take {len(unclear)} of {len(part)} items: {unclear[0][1]}")

    def _report(
        self,
        batch: Batch,
        done: Sequence[tuple[int, Mark]],
        bytes_uploaded: int = 0,
        errors: Sequence[tuple[bytes, ItemError]] = (),
    ) -> None:
        for at, mark in done:
            batch.marks[at] = mark
        self._inbox(Report(batch=batch, done=done, bytes_uploaded=bytes_uploaded, errors=errors))

    def _not_stored(self, batch: Batch, part: list[int]) -> list[int]:
        """Leaves out what an earlier attempt stored (its answer was lost) and, if asked for, what was there before."""
        doubtful = [at for at in part if at in batch.uncertain]
        stored = self._looked_up(batch, doubtful, Mark.SUCCESS, self._catalog.stored)
        batch.uncertain.difference_update(part)
        rest = [at for at in part if at not in stored]
        if self._policy.skip_existing:
            there = self._looked_up(batch, rest, Mark.SKIPPED, self._existing)
            rest = [at for at in rest if at not in there]
        return rest

    def _existing(self, data_source: str, items: Sequence[Item]) -> set[str]:
        return self._catalog.existing(data_source, [item.item_id for item in items])

    def _looked_up(
        self, batch: Batch, ats: list[int], mark: Mark, look_up: Callable[[str, Sequence[Item]], set[str]]
    ) -> set[int]:
        if not ats:
            return set()
        self._control.check()
        with self._control.busy():
            ids = look_up(self._data_source, [batch.items[at] for at in ats])
        found = {at for at in ats if batch.items[at].item_id in ids}
        if found:
            self._report(batch, [(at, mark) for at in found])
        return found

    def _slow_down(self, exc: CatalogUnavailable) -> None:
        self._throttle.slow_down(exc.retry_after_s if exc.retry_after_s is not None else self._policy.retry_base_s)

    def _give_up(self, batch: Batch, at: int, exc: BladeError, attempts: int) -> None:
        error = _error(batch.items[at], exc.reason, exc.message, attempts)
        self._report(batch, [(at, Mark.ERROR)], errors=[(batch.keys[at], error)])


def _error(item: Item, reason: Reason, message: str, attempts: int) -> ItemError:
    return ItemError(
        item_id=item.item_id,
        stage=Stage.UPLOAD,
        reason=reason,
        message=message,
        attempts=attempts,
        row_json=item.data_json[:MAX_ROW_JSON_BYTES].decode("utf-8", "ignore"),
    )
