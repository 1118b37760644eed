"""The upload of one batch: what is tried again, when it is split, when the catalog is waited for.

It blocks, and knows no threads, no queue and no PostgreSQL: pace, halt and what is known of an outage are handed in. An
upload ends for each item as a mark in its batch and in a report. The table:

| the catalog                                 | what happens                                                     |
|---------------------------------------------|------------------------------------------------------------------|
| takes it                                    | SUCCESS                                                          |
| says that it takes it, and that it does not | looked up: SUCCESS; else as what it says against it: 4xx, or 5xx |
| refuses one item of a batch (its own 4xx)   | ERROR for that item                                              |
| refuses the request (400, 409, 413, 422 ..) | split in halves until the bad item stands alone: ERROR           |
| 401, 403                                    | the job fails                                                    |
| 429, 503 with Retry-After                   | everybody waits, longer each time; no attempt is used up         |
| 5xx, refused connection                     | 3 more attempts, 2 s apart and growing; what may have been       |
|                                             | stored is looked up first                                        |
| no answer, or that of a gateway that gave   | the same, if the catalog bears a repeat; else nothing is sent    |
| up (502, 504, 202, a page; others once they | again until the request can be at work no more: looked up now    |
| took a second)                              | and then, the batch waits outside its thread; sent again once,   |
|                                             | then item by item                                                |
| refuses a repeat under the same key while   | says nothing: looked up again and repeated later, no attempt is  |
| the first request can be at work (425, any) | used up; from then on the request is a new one                   |
| still so, and its health check fails        | the job waits (CATALOG_DOWN), asks again and goes on by itself   |
| still so, and its health check passes       | split; alone: put behind the others, tried again, and ERROR once |
|                                             | others that began later came through, or patience is over        |

A catalog bears a repeat if it replaces by id, or honours the Idempotency-Key and the repeat is the same request. The
key is made of the job and the ids in the request: repeats of a whole request have the same key, and so have uploads of
one item alone, whoever makes them. So halves of a request, and what is left of it, are no repeats: they wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from blade_server.arrow.items import Items
from blade_server.catalog import Capabilities, Catalog, Encoded, Uploaded
from blade_server.core import retry
from blade_server.core.engine.batches import Batch, Doubt, Group, Report, Verdict
from blade_server.core.engine.halt import Control, HaltedError
from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.upload.outage import Outage
from blade_server.core.engine.upload.pace import Pace
from blade_server.core.engine.upload.throttle import Throttle
from blade_server.errors import BladeError, CatalogRejected, CatalogUnavailable, Reason, StorageUnavailable
from blade_server.metrics.families import BATCH_ITEMS, UPLOAD_RETRIES, UPLOAD_THROTTLES
from blade_server.model import MAX_ROW_JSON_BYTES, Item, ItemError, Stage, WaitReason
from blade_server.model.destination import DEFAULT_DESTINATION
from blade_server.model.policy import RetryPolicy

T = TypeVar("T")
Reports: TypeAlias = Generator[Report, None, T]
"""Yields what becomes of items, and returns a T."""

LOOK_UPS_AT_ONCE = 50
"""So many items are looked up between two looks at whether the job is paused or cancelled."""
_LEAST_BETWEEN_LOOKS_S = 0.05
_ATTEMPTS_HELD = 1
"""Attempts after the first one with items that have to wait each time: longer than the others with all of theirs."""


@dataclass(frozen=True, kw_only=True)
class SendTools:
    """What the batches of one job are sent with; shared by all who send them.

    `scope` begins the idempotency keys of the job's requests; `destination` is the name of the catalog.
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
    destination: str = DEFAULT_DESTINATION


def send_batch(batch: Batch, tools: SendTools) -> Iterator[Report]:
    """Sends the open items of a batch; yields what becomes of them as it happens.

    At its end something has become of each, or those that are left wait until `batch.due`: call it again then. Raises
    HaltedError if the job must not go on (what is open stays so), and what ends the whole job: CatalogDenied.
    """
    batch.due = 0.0
    sending = _Sending(batch, tools)
    while (group := sending.next_group()) is not None:
        batch.groups += yield from sending.turn(group)
    batch.due = min((doubt.due for doubt in batch.doubts.values()), default=0.0)


class _Sending:
    """One batch on its way."""

    def __init__(self, batch: Batch, tools: SendTools) -> None:
        self._batch = batch
        self._tools = tools
        self._sent_at = 0.0
        batch.groups = batch.groups or [Group(places=batch.open)]

    def next_group(self) -> Group | None:
        """The last group with items that need not wait; None if there is none. What is done with is left out.

        Suspects last: the others may prove the catalog well. Else as in the batch, also once suspicion is lifted.
        """
        for group in self._batch.groups:
            group.places = sorted(self._still_open(group.places), key=lambda at: (at in group.suspects, at))
        self._batch.groups = [group for group in self._batch.groups if group.places]
        return next((group for group in reversed(self._batch.groups) if self._ready(group)), None)

    def _still_open(self, places: Iterable[int]) -> list[int]:
        marks = self._batch.marks
        return [at for at in places if marks[at] == Mark.INTENDED] if Mark.INTENDED in marks else []

    def _ready(self, group: Group) -> list[int]:
        """Places of items that need not wait."""
        doubts = self._batch.doubts
        if not doubts:
            return group.places
        now = time.monotonic()
        return [at for at in group.places if at not in doubts or doubts[at].free or doubts[at].due <= now]

    def turn(self, group: Group) -> Reports[list[Group]]:
        """One look-up, or else one attempt with a part of the group. Returns groups to be sent apart first."""
        self._tools.pace.wait_for_catalog(self._tools.control)  # look-ups and questions wait as uploads do
        doubts, ready = self._batch.doubts, self._ready(group)
        part = [at for at in ready if at in doubts and not doubts[at].free] if doubts else []
        apart: list[Group] = []
        try:
            if part:
                return (yield from self._resolve(group, part))
            part = ready[:1]
            part = self._next_part(group, ready)
            if (yield from self._send(part)):
                group.forget()
        except CatalogRejected as exc:
            apart = yield from self._on_rejected(group, part, exc)
        except CatalogUnavailable as exc:
            apart = yield from self._on_unavailable(group, part, exc)
        except StorageUnavailable:
            # Only pacing asks PostgreSQL here; without it the lease cannot hold either, so nothing is sent.
            self._tools.control.wait(0.5, WaitReason.RETRY_BACKOFF, "PostgreSQL does not answer")
        return apart

    def _next_part(self, group: Group, ready: list[int]) -> list[int]:
        if ready[0] in group.suspects:
            return ready[:1]
        most = group.at_once
        if most is None:
            most = self._tools.catalog.capabilities().max_batch_items
            most = min(most, self._tools.pace.largest or most)
        return [at for at in ready[:most] if at not in group.suspects]

    # ----------------------------------------------------------------------------------------------- an attempt

    @property
    def _scope(self) -> str:
        """Begins the idempotency key: the same for all that is sent again because there was no answer."""
        answers = self._batch.answers
        return f"{self._tools.scope}/{answers}" if answers else self._tools.scope

    def _send(self, part: list[int]) -> Reports[bool]:
        """False: nothing was sent, as some of it has to be looked up first."""
        batch, tools = self._batch, self._tools
        if tools.skip_existing:
            unsent = [at for at in part if at not in batch.doubts or not batch.doubts[at].request]
            there = yield from self._looked_up(unsent, Mark.SKIPPED, self._existing)
            part = [at for at in part if at not in there]
            if not part:
                return True
        tools.pace.wait(len(part), tools.control)
        if not self._may_go(part):
            return False
        assert batch.encoded is not None
        encoded = batch.encoded if len(part) == len(batch.encoded) else batch.encoded.take(part)
        BATCH_ITEMS.observe(len(part))
        began, self._sent_at = time.monotonic(), 0.0
        with tools.control.busy():
            try:
                uploaded = tools.catalog.upload(encoded, scope=self._scope, before_request=self._before_request)
            except HaltedError:
                if self._sent_at:  # the first of several requests was answered, which is forgotten here
                    self._doubt(part, 0.0)
                raise
        if sum(refusal.retry for refusal in uploaded.refused.values()) < len(part):
            tools.outage.passed(began)
        tools.throttle.sent(len(part) - len(uploaded.refused))
        if not uploaded.refused:  # nearly always
            yield from self._became(Mark.SUCCESS, part, encoded.size_bytes)
        else:
            yield from self._became_of_parts(part, encoded, uploaded)
        return True

    def _may_go(self, part: list[int]) -> bool:
        """Whether the catalog bears those that may be stored in a request of these; if not, they have to wait."""
        doubts = {at: self._batch.doubts[at] for at in part if at in self._batch.doubts}
        if not doubts or (can := self._tools.catalog.capabilities()).replaces:
            return True
        now, together = time.monotonic(), tuple(part)
        same_request = len(doubts) == len(part) <= can.max_batch_items and all(
            (doubt.request or (at,)) == together and doubt.scope == self._scope and doubt.settled_at > now
            for at, doubt in doubts.items()
        )
        if not same_request:
            self._put_off(list(doubts.values()))
        return same_request

    def _before_request(self) -> None:
        self._tools.control.check()  # the look at the lease comes right before each request
        self._sent_at = time.monotonic()

    def _became_of_parts(self, part: Sequence[int], encoded: Encoded, uploaded: Uploaded) -> Iterator[Report]:
        """Some were stored, some refused for good, some are looked up; those that may be tried again raise."""
        refused, batch = uploaded.refused, self._batch
        stored = [at for at in range(len(part)) if at not in refused]
        if stored:
            sent = encoded.take(stored)
            yield from self._became(Mark.SUCCESS, [part[at] for at in stored], sent.size_bytes)
        for_good, errors = [], []
        for at, refusal in refused.items():
            error = CatalogRejected(f"the catalog refused the item: {refusal.reason}")
            if refusal.retry:
                continue
            if at in uploaded.doubted:
                self._conclude(part[at], Verdict(error, 1))
            else:
                for_good.append(part[at])
                errors.append((batch.keys[part[at]], _error(encoded.items[at], error.reason, error.message, 1)))
        yield from self._became(Mark.ERROR, for_good, errors=errors)
        unclear = {part[at]: refusal.reason for at, refusal in refused.items() if refusal.retry}
        if unclear:
            self._doubt(unclear, 0.0)
            self._doubt([part[at] for at in uploaded.at_work], self._sent_at + self._settle_s)
            if uploaded.at_work:
                self._tools.outage.unanswered(self._sent_at + self._settle_s)
            batch.answers += 1
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

    @property
    def _settle_s(self) -> float:
        return self._tools.catalog.settle_s

    def _doubt(self, places: Iterable[int], settled_at: float) -> None:
        """These may be stored, at the latest then; what was known of an older request of theirs still holds."""
        places = tuple(places)
        for at in places:
            known = self._batch.doubts.get(at)
            self._batch.doubts[at] = Doubt(
                settled_at=max(settled_at, known.settled_at if known else 0.0), request=places, scope=self._scope
            )

    def _resolve(self, group: Group, part: list[int]) -> Reports[list[Group]]:
        """Looks up what may be stored: it is there, or is not and may be sent again, or has to wait."""
        batch, looked_at = self._batch, time.monotonic()
        stored = yield from self._looked_up(part, Mark.SUCCESS, self._tools.catalog.stored)
        missing = [at for at in part if at not in stored]
        absent = [at for at in missing if batch.doubts[at].settled_at <= looked_at]
        for at in absent:
            del batch.doubts[at]
            yield from self._judge_absent(at)
        rest = [at for at in missing if at in batch.doubts]
        return self._go_on_or_wait(group, rest) if rest else []

    def _judge_absent(self, at: int) -> Iterator[Report]:
        verdict = self._batch.verdicts.get(at)
        if verdict is not None and (verdict.since is None or self._tools.outage.convicts(verdict.since)):
            yield from self._give_up(at, verdict)

    def _go_on_or_wait(self, group: Group, places: list[int]) -> list[Group]:
        """A look-up did not find these, for which a request may be at work: they are sent again where that is safe."""
        doubts, can = self._batch.doubts, self._tools.catalog.capabilities()
        again: list[Group] = []
        for at in places:
            doubt = doubts[at]
            if doubt.free or at in self._batch.verdicts:
                continue
            if can.replaces:
                doubt.free = True
            elif can.honours_keys and (request := self._same_request(at, places, alone=can.max_batch_items == 1)):
                for one in request:
                    doubts[one].free, doubts[one].scope = True, self._scope
                if request == group.places:
                    group.at_once = len(request)
                else:
                    again.append(Group(places=request, at_once=len(request), attempt=group.attempt))
        self._put_off([doubts[at] for at in places if not doubts[at].free])
        return again

    def _put_off(self, doubts: Sequence[Doubt]) -> None:
        """They are looked up again later, each time after a longer while, and once no request can be at work."""
        looks = 1 + max((doubt.looks for doubt in doubts), default=0)
        due = time.monotonic() + max(_LEAST_BETWEEN_LOOKS_S, retry.delay_s(looks, self._tools.retry.base_s))
        for doubt in doubts:
            doubt.free, doubt.looks, doubt.due = False, looks, min(doubt.settled_at, due)

    def _same_request(self, at: int, places: list[int], *, alone: bool) -> list[int]:
        """All that was sent together with the item, if it can be sent under the same key; else nothing."""
        doubt = self._batch.doubts[at]
        if not doubt.request:  # by an earlier claim, which sent it alone too if the catalog takes nothing else
            return [at] if alone and not self._batch.answers else []
        same = doubt.scope == self._scope and set(doubt.request) <= set(places)
        return list(doubt.request) if same else []

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
            doubts = self._batch.doubts
            adopted = [at for at in known if at in doubts and doubts[at].adopts]
            yield from self._became(Mark.UNCHANGED, adopted)
            yield from self._became(mark, [at for at in known if at not in set(adopted)] if adopted else known)
            found.update(known)
        return found

    # ------------------------------------------------------------------------------------------------- failures

    def _on_rejected(self, group: Group, part: list[int], exc: CatalogRejected) -> Reports[list[Group]]:
        if self._says_nothing(part):
            return []
        attempts = group.attempt + 1
        group.forget()
        # What a look-up found was not in the request.
        return (yield from self._isolate(self._still_open(part), exc, attempts))

    def _on_unavailable(self, group: Group, part: list[int], exc: CatalogUnavailable) -> Reports[list[Group]]:
        tools = self._tools
        count_failure(tools.destination, exc)
        group.failing_since = group.failing_since or time.monotonic()
        part = self._still_open(part)
        if exc.maybe_stored:
            self._doubt(part, self._sent_at + self._settle_s if exc.at_work else 0.0)
            if exc.at_work:
                tools.outage.unanswered(self._sent_at + self._settle_s)
        if exc.throttled:
            tools.throttle.slow_down(exc.retry_after_s if exc.retry_after_s is not None else tools.retry.base_s)
        elif not exc.maybe_stored and self._says_nothing(part):
            pass
        elif part and exc.at_work and not self._bears_repeat():
            return self._on_held(group, part, exc)
        elif group.attempt < tools.retry.attempts:
            group.attempt += 1
            self._back_off(exc, group.attempt)
        else:
            since = group.failing_since
            group.forget()
            return (yield from self._on_exhausted(group, part, exc, since))
        return []

    def _says_nothing(self, part: list[int]) -> bool:
        """Whether these were sent again while the same request may be at work, which is why this one was refused.

        Then no attempt is used up; both are waited for, and look-ups go on.
        """
        doubts, now = [self._batch.doubts.get(at) for at in part], time.monotonic()
        repeated = [doubt for doubt in doubts if doubt is not None and doubt.free and doubt.settled_at > now]
        if not part or len(repeated) < len(part) or self._can().replaces:
            return False
        self._put_off(repeated)
        return True

    def _bears_repeat(self) -> bool:
        can = self._can()
        return can.replaces or can.honours_keys

    def _can(self) -> Capabilities:
        """What the catalog can do; nothing special if it does not say."""
        try:
            return self._tools.catalog.capabilities()
        except BladeError:
            return Capabilities()

    def _on_held(self, group: Group, part: list[int], exc: CatalogUnavailable) -> list[Group]:
        """The items have to wait, which no thread does; a second time they have to do it one by one."""
        batch, tools = self._batch, self._tools
        failures = 1 + max(batch.failures.get(at, 0) for at in part)
        since = group.failing_since
        group.forget()
        due = time.monotonic() + retry.delay_s(failures, tools.retry.base_s, exc)
        for at in part:
            batch.failures[at], batch.doubts[at].due = failures, due
        if failures <= min(_ATTEMPTS_HELD, tools.retry.attempts):
            return []
        if tools.outage.sit_out(tools.catalog, tools.control, exc.message):
            for at in part:
                del batch.failures[at]
                batch.verdicts.pop(at, None)
        elif len(part) > 1:
            return [Group(places=part, at_once=1)]
        else:
            known = batch.verdicts.get(part[0])
            batch.verdicts[part[0]] = Verdict(exc, failures, since if known is None else known.since)
        return []

    def _on_exhausted(
        self, group: Group, part: list[int], exc: CatalogUnavailable, since: float
    ) -> Reports[list[Group]]:
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

    def _isolate(self, part: list[int], exc: BladeError, attempts: int) -> Reports[list[Group]]:
        """Finds the bad item by halves; it stands alone in the end."""
        if len(part) == 1:
            yield from self._give_up_unless_stored(part[0], Verdict(exc, attempts))
            return []
        half = len(part) // 2
        return [Group(places=places) for places in (part[half:], part[:half]) if places]

    def _judge(self, at: int, exc: CatalogUnavailable, since: float) -> Iterator[Report]:
        """All attempts with this item failed, and the catalog says it is well."""
        outage, verdict = self._tools.outage, Verdict(exc, 2 * (self._tools.retry.attempts + 1))
        if at in self._batch.verdicts and outage.out_of_patience:  # then it is the look-ups that fail
            message = f"it may be in the catalog all the same, which cannot be looked up: {exc.message}"
            yield from self._give_up(at, verdict._replace(error=CatalogUnavailable(message)), Mark.DOUBTED)
        elif outage.convicts(since):
            yield from self._give_up_unless_stored(at, verdict)

    def _give_up_unless_stored(self, at: int, verdict: Verdict) -> Iterator[Report]:
        if at in self._batch.doubts:
            self._conclude(at, verdict)
        else:
            yield from self._give_up(at, verdict)

    def _conclude(self, at: int, verdict: Verdict) -> None:
        """That is what the item is, unless a look-up finds it."""
        self._batch.verdicts[at] = verdict
        self._doubt([at], 0.0)

    def _give_up(self, at: int, verdict: Verdict, mark: Mark = Mark.ERROR) -> Iterator[Report]:
        error = _error(self._batch.items[at], verdict.error.reason, verdict.error.message, verdict.attempts)
        yield from self._became(mark, [at], errors=[(self._batch.keys[at], error)])

    def _back_off(self, exc: CatalogUnavailable, attempt: int) -> None:
        retries = self._tools.retry
        seconds = retry.delay_s(attempt, retries.base_s, exc)
        detail = f"attempt {attempt + 1} of {retries.attempts + 1} in {seconds:.1f} s: {exc.message}"
        self._tools.control.wait(seconds, WaitReason.RETRY_BACKOFF, detail)


def count_failure(destination: str, exc: CatalogUnavailable) -> None:
    """For the metrics: what the catalog did that is tried again."""
    reason = "throttled" if exc.throttled else "no_answer" if exc.at_work else "unavailable"
    UPLOAD_RETRIES.labels(destination, reason).inc()
    if exc.throttled:
        UPLOAD_THROTTLES.labels(destination).inc()


def _error(item: Item, reason: Reason, message: str, attempts: int) -> ItemError:
    return ItemError(
        item_id=item.item_id,
        stage=Stage.UPLOAD,
        reason=reason,
        message=message,
        attempts=attempts,
        row_json=item.data_json[:MAX_ROW_JSON_BYTES].decode("utf-8", "ignore"),
    )
