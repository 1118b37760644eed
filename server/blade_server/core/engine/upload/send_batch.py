"""The upload of one batch: what is tried again, when it is split, when the catalog is waited for.

It blocks, and knows no threads, no queue and no PostgreSQL: pace, halt and what is known of an outage are handed in. An
upload ends for each item as a mark in its batch and in a report. The table:

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

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from blade_server.arrow.items import Items
from blade_server.catalog import Catalog, Encoded, Refusal
from blade_server.core import retry
from blade_server.core.engine.batches import Batch, Report
from blade_server.core.engine.halt import Control, HaltedError
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.upload.outage import Outage
from blade_server.core.engine.upload.pace import Pace
from blade_server.core.engine.upload.throttle import Throttle
from blade_server.errors import BladeError, CatalogRejected, CatalogUnavailable, Reason, StorageUnavailable
from blade_server.model import MAX_ROW_JSON_BYTES, Item, ItemError, Stage, WaitReason
from blade_server.model.policy import RetryPolicy

T = TypeVar("T")
Reports: TypeAlias = Generator[Report, None, T]
"""Yields what becomes of items, and returns a T."""

LOOK_UPS_AT_ONCE = 50
"""So many items are looked up between two looks at whether the job is paused or cancelled."""


@dataclass(frozen=True, kw_only=True)
class SendTools:
    """What the batches of one job are sent with; shared by all who send them.

    `scope` begins the idempotency keys of the job's requests.
    """

    catalog: Catalog
    control: Control
    pace: Pace
    throttle: Throttle
    outage: Outage
    retry: RetryPolicy
    data_source: str
    scope: str
    skip_existing: bool = False


def send_batch(batch: Batch, tools: SendTools) -> Iterator[Report]:
    """Sends the open items of a batch until something has become of each; yields that as it happens.

    Raises HaltedError if the job must not go on (what is open stays so), and what ends the whole job: CatalogDenied.
    """
    sending = _Sending(batch, tools)
    stack = [_Group(places=batch.open)]
    while stack:
        group = stack[-1]
        sending.look_at(group)
        if group.places:
            stack += yield from sending.turn(group)
        else:
            stack.pop()


@dataclass(kw_only=True)
class _Group:
    """Items of a batch that are sent together as far as they can be, and how that has gone so far."""

    places: list[int]
    attempt: int = 0
    failing_since: float = 0.0
    suspects: dict[int, float] = field(default_factory=dict)
    """Single items that fail although the catalog is well, and since when."""

    def forget(self) -> None:
        """The next failure is a first one."""
        self.attempt, self.failing_since = 0, 0.0


class _Sending:
    """One batch on its way."""

    def __init__(self, batch: Batch, tools: SendTools) -> None:
        self._batch = batch
        self._tools = tools

    def look_at(self, group: _Group) -> None:
        """Leaves in the group what nothing has become of yet.

        Suspects last: the others may prove the catalog well. Else as in the batch, also once suspicion is lifted.
        """
        group.places = sorted(self._still_open(group.places), key=lambda at: (at in group.suspects, at))

    def turn(self, group: _Group) -> Reports[list[_Group]]:
        """One attempt with a part of the group. Returns groups that have to be sent apart first."""
        halves: list[_Group] = []
        part = group.places[:1]
        try:
            part = self._next_part(group)
            yield from self._try_part(part)
            group.forget()
        except CatalogRejected as exc:
            halves = yield from self._on_rejected(group, part, exc)
        except CatalogUnavailable as exc:
            halves = yield from self._on_unavailable(group, part, exc)
        except StorageUnavailable:
            # Only pacing asks PostgreSQL here; without it the lease cannot hold either, so nothing is sent.
            self._tools.control.wait(0.5, WaitReason.RETRY_BACKOFF, "PostgreSQL does not answer")
        return halves

    def _next_part(self, group: _Group) -> list[int]:
        if group.places[0] in group.suspects:
            return group.places[:1]
        most = self._tools.catalog.capabilities().max_batch_items
        chosen = group.places[: min(most, self._tools.pace.largest or most)]
        return [at for at in chosen if at not in group.suspects]

    def _still_open(self, places: Iterable[int]) -> list[int]:
        marks = self._batch.marks
        return [at for at in places if marks[at] == Mark.INTENDED] if Mark.INTENDED in marks else []

    # ----------------------------------------------------------------------------------------------- an attempt

    def _try_part(self, part: list[int]) -> Iterator[Report]:
        part = yield from self._not_stored(part)
        if not part:
            return
        batch, tools = self._batch, self._tools
        tools.pace.wait(len(part), tools.control)
        assert batch.encoded is not None
        encoded = batch.encoded if len(part) == len(batch.encoded) else batch.encoded.take(part)
        began = time.monotonic()
        with tools.control.busy():
            try:  # The look at the lease comes right before each request.
                uploaded = tools.catalog.upload(
                    encoded, scope=f"{tools.scope}/{batch.number}", before_request=tools.control.check
                )
            except HaltedError:
                batch.uncertain.update(part)  # the first of several requests may have been sent
                raise
        tools.outage.passed(began)
        tools.throttle.sent(len(part) - len(uploaded.refused))
        if not uploaded.refused:  # nearly always
            yield from self._became(Mark.SUCCESS, part, encoded.size_bytes)
        else:
            yield from self._became_of_parts(part, encoded, uploaded.refused)

    def _became_of_parts(
        self, part: Sequence[int], encoded: Encoded, refused: Mapping[int, Refusal]
    ) -> Iterator[Report]:
        """Some were stored, some refused for good, and some the catalog could not take: those raise."""
        stored = [at for at in range(len(part)) if at not in refused]
        yield from self._became(Mark.SUCCESS, [part[at] for at in stored], encoded.take(stored).size_bytes)
        for_good = [at for at, refusal in refused.items() if not refusal.retry]
        errors = []
        for at in for_good:
            message = f"the catalog refused the item: {refused[at].reason}"
            errors.append((self._batch.keys[part[at]], _error(encoded.items[at], CatalogRejected.reason, message, 1)))
        yield from self._became(Mark.ERROR, [part[at] for at in for_good], errors=errors)
        unclear = {part[at]: refusal.reason for at, refusal in refused.items() if refusal.retry}
        if unclear:
            self._batch.uncertain.update(unclear)
            reason = next(iter(unclear.values()))
            raise CatalogUnavailable(f"the catalog could not take {len(unclear)} of {len(part)} items: {reason}")

    def _became(
        self,
        mark: Mark,
        places: Sequence[int],
        bytes_uploaded: int = 0,
        errors: Sequence[tuple[bytes, ItemError]] = (),
    ) -> Iterator[Report]:
        self._batch.mark(places, mark)
        if places:
            yield Report(batch=self._batch, mark=mark, places=places, bytes_uploaded=bytes_uploaded, errors=errors)

    # ------------------------------------------------------------------------------------------------- look-ups

    def _not_stored(self, part: list[int]) -> Reports[list[int]]:
        """Leaves out what an earlier attempt stored (its answer was lost) and, if asked for, what was there before."""
        batch, tools = self._batch, self._tools
        doubtful = [at for at in part if at in batch.uncertain]
        stored = yield from self._looked_up(doubtful, Mark.SUCCESS, tools.catalog.stored)
        batch.uncertain.difference_update(part)
        rest = [at for at in part if at not in stored]
        if tools.skip_existing:
            there = yield from self._looked_up(rest, Mark.SKIPPED, self._existing)
            rest = [at for at in rest if at not in there]
        return rest

    def _existing(self, data_source: str, items: Items) -> set[str]:
        return self._tools.catalog.existing(data_source, items.item_ids)

    def _looked_up(self, ats: list[int], mark: Mark, look_up: Callable[[str, Items], set[str]]) -> Reports[set[int]]:
        found: set[int] = set()
        for start in range(0, len(ats), LOOK_UPS_AT_ONCE):
            some = ats[start : start + LOOK_UPS_AT_ONCE]
            items = self._batch.items.take(some)
            self._tools.control.check()
            try:
                with self._tools.control.busy():
                    ids = look_up(self._tools.data_source, items)
            except CatalogRejected as exc:  # a look-up that is refused says nothing about the items
                raise CatalogUnavailable(exc.message) from exc
            known = [at for at, item_id in zip(some, items.item_ids, strict=True) if item_id in ids]
            yield from self._became(mark, known)
            found.update(known)
        return found

    # ------------------------------------------------------------------------------------------------- failures

    def _on_rejected(self, group: _Group, part: list[int], exc: CatalogRejected) -> Reports[list[_Group]]:
        attempts = group.attempt + 1
        group.forget()
        # What a look-up found was not in the request.
        return (yield from self._isolate(self._still_open(part), exc, attempts))

    def _on_unavailable(self, group: _Group, part: list[int], exc: CatalogUnavailable) -> Reports[list[_Group]]:
        tools = self._tools
        group.failing_since = group.failing_since or time.monotonic()
        part = self._still_open(part)
        if exc.maybe_stored:
            self._batch.uncertain.update(part)
        if exc.throttled:
            tools.throttle.slow_down(exc.retry_after_s if exc.retry_after_s is not None else tools.retry.base_s)
        elif group.attempt < tools.retry.attempts:
            group.attempt += 1
            self._back_off(exc, group.attempt)
        else:
            since = group.failing_since
            group.forget()
            return (yield from self._on_exhausted(group, part, exc, since))
        return []

    def _on_exhausted(
        self, group: _Group, part: list[int], exc: CatalogUnavailable, since: float
    ) -> Reports[list[_Group]]:
        """All attempts failed. It is the catalog that is down, or an item of this part that it cannot bear."""
        tools, suspects = self._tools, group.suspects
        if tools.outage.sit_out(tools.catalog, tools.control, exc.message):
            suspects.clear()
        elif len(part) > 1:
            return (yield from self._isolate(part, exc, 0))
        elif part:
            suspects.setdefault(part[0], since)
            if suspects[part[0]] != since:  # it gets a second round before ERROR
                yield from self._judge(part[0], exc, suspects[part[0]])
            if len(suspects) == len(group.places):
                detail = f"uploads fail although the catalog's health check passes: {exc.message}"
                tools.control.wait(tools.retry.base_s or 0.1, WaitReason.CATALOG_DOWN, detail)
        return []

    def _isolate(self, part: list[int], exc: BladeError, attempts: int) -> Reports[list[_Group]]:
        """Finds the bad item by halves; it stands alone in the end."""
        if len(part) == 1:
            yield from self._give_up(part[0], exc, attempts)
            return []
        half = len(part) // 2
        return [_Group(places=places) for places in (part[half:], part[:half]) if places]

    def _judge(self, at: int, exc: CatalogUnavailable, since: float) -> Iterator[Report]:
        """All attempts with this item failed, and the catalog says it is well."""
        if not self._tools.outage.convicts(since):
            return
        with suppress(CatalogUnavailable):  # else it is looked up again with the next attempt
            if (yield from self._not_stored([at])):
                yield from self._give_up(at, exc, 2 * (self._tools.retry.attempts + 1))

    def _give_up(self, at: int, exc: BladeError, attempts: int) -> Iterator[Report]:
        error = _error(self._batch.items[at], exc.reason, exc.message, attempts)
        yield from self._became(Mark.ERROR, [at], errors=[(self._batch.keys[at], error)])

    def _back_off(self, exc: CatalogUnavailable, attempt: int) -> None:
        retries = self._tools.retry
        seconds = retry.delay_s(attempt, retries.base_s, exc)
        detail = f"attempt {attempt + 1} of {retries.attempts + 1} in {seconds:.1f} s: {exc.message}"
        self._tools.control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)


def _error(item: Item, reason: Reason, message: str, attempts: int) -> ItemError:
    return ItemError(
        item_id=item.item_id,
        stage=Stage.UPLOAD,
        reason=reason,
        message=message,
        attempts=attempts,
        row_json=item.data_json[:MAX_ROW_JSON_BYTES].decode("utf-8", "ignore"),
    )
