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
| still so, and its health check passes       | split; alone: put behind the others, tried again, and ERROR once |
|                                             | others that began later came through, or patience is over        |
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Queue

from blade_server.arrow.items import Items
from blade_server.catalog import Catalog, Encoded, Refusal
from blade_server.core import retry
from blade_server.core.engine.batches import Batch, Report
from blade_server.core.engine.halt import Control, Halt, HaltedError
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.upload.pacing import Pace, Throttle
from blade_server.errors import BladeError, CatalogRejected, CatalogUnavailable, Reason, StorageUnavailable
from blade_server.model import MAX_ROW_JSON_BYTES, Item, ItemError, Stage, WaitReason

log = logging.getLogger(__name__)

LOOK_UPS_AT_ONCE = 50
"""So many items are looked up between two looks at whether the job is paused or cancelled."""
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

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._probing = threading.Lock()
        self._delay_s = PROBE_S[0]
        self._ask_at = 0.0
        self._well_since = time.monotonic()
        self._last_good_start = 0.0

    def passed(self, began: float) -> None:
        """An upload that began then was answered well."""
        self._last_good_start = max(self._last_good_start, began)
        self._well_since = time.monotonic()
        self._delay_s = PROBE_S[0]

    def convicts(self, suspected_since: float) -> bool:
        """Whether the item, not the catalog, is at fault: others that began later came through, or patience is over."""
        return self._last_good_start > suspected_since or time.monotonic() - self._well_since > self._patience_s

    def sit_out(self, catalog: Catalog, control: Control, detail: str) -> bool:
        """Returns once the health check passes: True if it had failed. One worker asks, the others wait for it."""
        waited = False
        while True:
            seconds = self._down_for(catalog)
            if seconds == 0.0:
                if waited:
                    self._well_since = time.monotonic()
                return waited
            waited = True
            control.wait(seconds, WaitReason.CATALOG_DOWN, f"{detail}; asking again in {seconds:.0f} s")

    def _down_for(self, catalog: Catalog) -> float:
        """Seconds to wait before asking again; 0: the catalog is well."""
        if not self._probing.acquire(blocking=False):
            return 0.1
        try:
            left = self._ask_at - time.monotonic()
            if left > 0:  # another worker has asked; each asking anew would make all of them wait the longest time
                return left
            catalog.probe()
        except CatalogUnavailable:
            seconds, self._delay_s = self._delay_s, min(PROBE_S[1], self._delay_s * 2)
            self._ask_at = time.monotonic() + seconds
            return seconds
        else:
            return 0.0
        finally:
            self._probing.release()


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
        self._outage = Outage(policy.patience_s)
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

    def _send(self, batch: Batch, group: list[int]) -> None:
        """Sends these items until something has become of each of them."""
        attempt, failing_since = 0, 0.0
        suspects: dict[int, float] = {}  # single items that fail although the catalog is well, and since when
        while group:
            part = group[:1]
            try:
                part = self._next_part(group, suspects)
                self._attempt(batch, part)
                attempt, failing_since = 0, 0.0
            except CatalogRejected as exc:
                # What a look-up found was not in the request.
                self._isolate(batch, self._still_open(batch, part), exc, attempt + 1)
                attempt, failing_since = 0, 0.0
            except CatalogUnavailable as exc:
                failing_since = failing_since or time.monotonic()
                part = self._still_open(batch, part)
                if exc.maybe_stored:
                    batch.uncertain.update(part)
                if exc.throttled:
                    self._slow_down(exc)
                elif attempt < self._policy.retry_attempts:
                    attempt += 1
                    self._back_off(exc, attempt)
                else:
                    since, attempt, failing_since = failing_since, 0, 0.0
                    if self._outage.sit_out(self._catalog, self._control, exc.message):
                        suspects.clear()
                    elif len(part) > 1:
                        self._isolate(batch, part, exc, 0)
                    elif part:
                        suspects.setdefault(part[0], since)
                        self._judge(batch, part[0], exc, suspects[part[0]], first=suspects[part[0]] == since)
                        if len(suspects) == len(group):
                            self._wait_for_proof(exc)
            except StorageUnavailable:
                # Only pacing asks PostgreSQL here; without it the lease cannot hold either, so nothing is sent.
                self._control.wait(0.5, WaitReason.RETRY_BACKOFF, "PostgreSQL does not answer")
            group = self._still_open(batch, group)
            # Suspects last: the others may prove the catalog well. Else as in the batch, also once suspicion is lifted.
            group.sort(key=lambda at: (at in suspects, at))

    def _next_part(self, group: list[int], suspects: dict[int, float]) -> list[int]:
        if group[0] in suspects:
            return group[:1]
        most = self._catalog.capabilities().max_batch_items
        return [at for at in group[: min(most, self._pace.largest or most)] if at not in suspects]

    def _still_open(self, batch: Batch, part: list[int]) -> list[int]:
        return [at for at in part if batch.marks[at] == Mark.INTENDED] if Mark.INTENDED in batch.marks else []

    def _back_off(self, exc: CatalogUnavailable, attempt: int) -> None:
        seconds = retry.delay_s(attempt, self._policy.retry_base_s, exc)
        tries = self._policy.retry_attempts + 1
        detail = f"attempt {attempt + 1} of {tries} in {seconds:.1f} s: {exc.message}"
        self._control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)

    def _isolate(self, batch: Batch, part: list[int], exc: BladeError, attempts: int) -> None:
        """Finds the bad item by halves; it stands alone in the end."""
        if len(part) == 1:
            self._give_up(batch, part[0], exc, attempts)
            return
        half = len(part) // 2
        self._send(batch, part[:half])
        self._send(batch, part[half:])

    def _judge(self, batch: Batch, at: int, exc: CatalogUnavailable, since: float, *, first: bool) -> None:
        """All attempts with this item failed, and the catalog says it is well. It gets a second round before ERROR."""
        if first or not self._outage.convicts(since):
            return
        with suppress(CatalogUnavailable):  # else it is looked up again with the next attempt
            if self._not_stored(batch, [at]):
                self._give_up(batch, at, exc, 2 * (self._policy.retry_attempts + 1))

    def _wait_for_proof(self, exc: CatalogUnavailable) -> None:
        detail = f"uploads fail although the catalog's health check passes: {exc.message}"
        self._control.wait(self._policy.retry_base_s or 0.1, WaitReason.CATALOG_DOWN, detail)

    def _attempt(self, batch: Batch, part: list[int]) -> None:
        part = self._not_stored(batch, part)
        if not part:
            return
        self._pace.wait(len(part), self._control)
        assert batch.encoded is not None
        encoded = batch.encoded if len(part) == len(batch.encoded) else batch.encoded.take(part)
        began = time.monotonic()
        with self._control.busy():
            try:  # The look at the lease comes right before each request.
                uploaded = self._catalog.upload(
                    encoded, scope=f"{self._scope}/{batch.number}", before_request=self._control.check
                )
            except HaltedError:
                batch.uncertain.update(part)  # the first of several requests may have been sent
                raise
        self._outage.passed(began)
        self._throttle.sent(len(part) - len(uploaded.refused))
        if not uploaded.refused:  # nearly always
            self._report(batch, Mark.SUCCESS, part, encoded.size_bytes)
        else:
            self._report_parts(batch, part, encoded, uploaded.refused)

    def _report_parts(
        self, batch: Batch, part: Sequence[int], encoded: Encoded, refused: Mapping[int, Refusal]
    ) -> None:
        """Some were stored, some refused for good, and some the catalog could not take: those raise."""
        stored = [at for at in range(len(part)) if at not in refused]
        self._report(batch, Mark.SUCCESS, [part[at] for at in stored], encoded.take(stored).size_bytes)
        for_good = [at for at, refusal in refused.items() if not refusal.retry]
        errors = []
        for at in for_good:
            message = f"the catalog refused the item: {refused[at].reason}"
            errors.append((batch.keys[part[at]], _error(encoded.items[at], CatalogRejected.reason, message, 1)))
        self._report(batch, Mark.ERROR, [part[at] for at in for_good], errors=errors)
        unclear = {part[at]: refusal.reason for at, refusal in refused.items() if refusal.retry}
        if unclear:
            batch.uncertain.update(unclear)
            reason = next(iter(unclear.values()))
            raise CatalogUnavailable(f"the catalog could not take {len(unclear)} of {len(part)} items: {reason}")

    def _report(
        self,
        batch: Batch,
        mark: Mark,
        places: Sequence[int],
        bytes_uploaded: int = 0,
        errors: Sequence[tuple[bytes, ItemError]] = (),
    ) -> None:
        batch.mark(places, mark)
        if places:
            self._inbox(Report(batch=batch, mark=mark, places=places, bytes_uploaded=bytes_uploaded, errors=errors))

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

    def _existing(self, data_source: str, items: Items) -> set[str]:
        return self._catalog.existing(data_source, items.item_ids)

    def _looked_up(
        self, batch: Batch, ats: list[int], mark: Mark, look_up: Callable[[str, Items], set[str]]
    ) -> set[int]:
        found: set[int] = set()
        for start in range(0, len(ats), LOOK_UPS_AT_ONCE):
            some = ats[start : start + LOOK_UPS_AT_ONCE]
            items = batch.items.take(some)
            self._control.check()
            try:
                with self._control.busy():
                    ids = look_up(self._data_source, items)
            except CatalogRejected as exc:  # a look-up that is refused says nothing about the items
                raise CatalogUnavailable(exc.message) from exc
            known = [at for at, item_id in zip(some, items.item_ids, strict=True) if item_id in ids]
            self._report(batch, mark, known)
            found.update(known)
        return found

    def _slow_down(self, exc: CatalogUnavailable) -> None:
        self._throttle.slow_down(exc.retry_after_s if exc.retry_after_s is not None else self._policy.retry_base_s)

    def _give_up(self, batch: Batch, at: int, exc: BladeError, attempts: int) -> None:
        error = _error(batch.items[at], exc.reason, exc.message, attempts)
        self._report(batch, Mark.ERROR, [at], errors=[(batch.keys[at], error)])


def _error(item: Item, reason: Reason, message: str, attempts: int) -> ItemError:
    return ItemError(
        item_id=item.item_id,
        stage=Stage.UPLOAD,
        reason=reason,
        message=message,
        attempts=attempts,
        row_json=item.data_json[:MAX_ROW_JSON_BYTES].decode("utf-8", "ignore"),
    )
