"""The upload of one batch, told apart by places, against a catalog that fails on cue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.support.clock import Clock

from blade_server.arrow.items import Items
from blade_server.catalog import Capabilities, Refusal, Uploaded, encode
from blade_server.core.engine.batches import Batch, Report
from blade_server.core.engine.halt import Control, Halt, HaltedError
from blade_server.core.engine.ledger import Mark, item_key
from blade_server.core.engine.upload.limiter import Limiter
from blade_server.core.engine.upload.outage import Outage
from blade_server.core.engine.upload.pace import Pace
from blade_server.core.engine.upload.send_batch import SendTools, send_batch
from blade_server.core.engine.upload.throttle import Throttle
from blade_server.errors import CatalogRejected, CatalogUnavailable
from blade_server.model import Item, WaitReason
from blade_server.model.policy import RetryPolicy


class Cued:
    """A catalog whose answers are `answer`'s; it keeps what it took."""

    def __init__(self, answer: Callable[[list[str]], Uploaded], *, most: int = 100) -> None:
        self.answer = answer
        self.can = Capabilities(max_batch_items=most)
        self.well = True
        self.there: Counter[str] = Counter()
        self.settle_s = 60.0
        self.looks = 0
        self.scopes: list[str] = []

    def capabilities(self) -> Capabilities:
        return self.can

    def probe(self) -> None:
        if not self.well:
            self.well = True
            self.can = Capabilities(max_batch_items=100)
            raise CatalogUnavailable("down")

    def stored(self, _data_source: str, items: Items) -> set[str]:
        self.looks += 1
        return {item_id for item_id in items.item_ids if item_id in self.there}

    def existing(self, _data_source: str, item_ids: list[str]) -> set[str]:
        return {item_id for item_id in item_ids if item_id in self.there}

    def upload(self, encoded: Any, *, scope: str, before_request: Callable[[], object]) -> Uploaded:
        before_request()
        self.scopes.append(scope)
        ids = encoded.items.item_ids
        uploaded = self.answer(ids)
        self.there.update(item_id for at, item_id in enumerate(ids) if at not in uploaded.refused)
        return uploaded


class Free:
    """No limit, as pace and as throttle."""

    largest = None

    def wait_for_catalog(self, _control: Control) -> None: ...
    def wait(self, _items: int, _control: Control) -> None: ...
    def sent(self, _items: int) -> None: ...


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("blade_server.core.engine.upload.outage.PROBE_S", (0.01, 0.01))


def a_batch(count: int, *, uncertain: tuple[int, ...] = (), settled_at: float = 0.0) -> Batch:
    """Of items `i0`, `i1` ..."""
    items = Items.of([Item(f"i{number}", "t", b"{}", "UNCLASS", None, {}) for number in range(count)])
    keys = [item_key(item.item_id) for item in items]
    return Batch(0, keys, encode("d", items), uncertain=uncertain, settled_at=settled_at)


def send_tools(catalog: Cued, *, skip: bool = False, attempts: int = 0, patience_s: float = 60.0) -> SendTools:
    free: Any = Free()
    anything: Any = catalog
    return SendTools(
        catalog=anything,
        control=Control(float("inf")),
        pace=free,
        throttle=free,
        outage=Outage(patience_s),
        retry=RetryPolicy(attempts=attempts, base_s=0.01),
        data_source="d",
        scope="job",
        skip_existing=skip,
    )


def sent(catalog: Cued, count: int, *, uncertain: tuple[int, ...] = (), **options: Any) -> list[Report]:
    """The reports over a batch until something has become of each."""
    batch = a_batch(count, uncertain=uncertain)
    reports = list(send_batch(batch, send_tools(catalog, **options)))
    assert not batch.open
    return reports


def outcomes(reports: list[Report]) -> list[tuple[int, Mark]]:
    """Sorted."""
    return sorted((at, report.mark) for report in reports for at in report.places)


def test_an_answer_counts_for_the_items_it_is_about_after_suspects_were_put_last():
    def answer(ids: list[str]) -> Uploaded:
        if len(ids) > 1:
            return Uploaded({ids.index("i2"): Refusal("no")})
        catalog.well = ids == ["i0"]
        raise CatalogUnavailable("failed")

    catalog = Cued(answer, most=1)  # until it was down, which takes the suspicion from i0
    assert outcomes(sent(catalog, 4)) == [(0, Mark.SUCCESS), (1, Mark.SUCCESS), (2, Mark.ERROR), (3, Mark.SUCCESS)]
    assert catalog.there == Counter(["i0", "i1", "i3"])


@pytest.mark.parametrize(("skip", "mark"), [(False, Mark.SUCCESS), (True, Mark.SKIPPED)])
def test_what_was_found_stored_is_not_sent_again_where_the_rest_is_rejected(skip, mark):
    def answer(ids: list[str]) -> Uploaded:
        if "i2" in ids:
            raise CatalogRejected("no")
        return Uploaded()

    catalog = Cued(answer)
    catalog.there.update(["i0"])
    reports = sent(catalog, 3, uncertain=() if skip else (0,), skip=skip)
    assert outcomes(reports) == [(0, mark), (1, Mark.SUCCESS), (2, Mark.ERROR)]
    assert catalog.there == Counter(["i0", "i1"])


def lost(*, at_work: bool = True) -> CatalogUnavailable:
    return CatalogUnavailable("no answer", maybe_stored=True, at_work=at_work)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Of all that looks at the time on the way of a batch; a wait moves it."""
    clock = Clock()
    for room in ("upload.send_batch", "upload.outage"):
        monkeypatch.setattr(f"blade_server.core.engine.{room}.time", clock)
    return clock


def taken_up(catalog: Cued, batch: Batch, tools: SendTools, clock: Clock) -> Iterator[list[tuple[int, Mark]]]:
    """What each turn with the batch reports; it is taken up again when it is due."""
    while batch.open:
        yield outcomes(list(send_batch(batch, tools)))
        assert batch.due > clock.now or not batch.open
        clock.now = max(clock.now, batch.due)


def test_an_item_that_a_request_may_yet_store_is_not_sent_again_before_it_can_no_more(clock):
    def answer(ids: list[str]) -> Uploaded:
        sent_at.append((clock.now, ids))
        if len(sent_at) == 1:
            raise lost()
        return Uploaded()

    sent_at: list[tuple[float, list[str]]] = []
    catalog = Cued(answer)
    batch, tools = a_batch(3), send_tools(catalog, attempts=3)
    began = clock.now
    turns = list(taken_up(catalog, batch, tools, clock))
    assert turns[-1] == [(0, Mark.SUCCESS), (1, Mark.SUCCESS), (2, Mark.SUCCESS)]
    assert not any(turns[:-1])
    assert [(at >= began + catalog.settle_s, ids) for at, ids in sent_at[1:]] == [(True, ["i0", "i1", "i2"])]
    assert 3 < len(turns) < 200


def test_an_item_that_is_found_while_it_waits_is_stored_at_once(clock):
    def answer(ids: list[str]) -> Uploaded:
        if not catalog.looks:
            raise lost()
        raise AssertionError("sent again")

    catalog = Cued(answer)
    batch, tools = a_batch(3), send_tools(catalog)
    for turn in taken_up(catalog, batch, tools, clock):
        if clock.now > 1000.0 + 0.3 * catalog.settle_s:
            catalog.there.update(["i0", "i1", "i2"])
        if turn:
            assert clock.now < 1000.0 + catalog.settle_s
    assert set(batch.marks) == {Mark.SUCCESS}


def test_a_part_that_waits_leaves_the_others_of_its_batch_alone(clock):
    def answer(ids: list[str]) -> Uploaded:
        if ids == ["i0", "i1"]:
            raise lost()
        return Uploaded()

    catalog = Cued(answer, most=2)
    batch, tools = a_batch(6), send_tools(catalog)
    assert outcomes(list(send_batch(batch, tools))) == [(at, Mark.SUCCESS) for at in range(2, 6)]
    assert (batch.open, batch.uncertain) == ([0, 1], {0, 1})
    assert batch.due > clock.now


@pytest.mark.parametrize("can", [{"replaces": True}, {"honours_keys": True}], ids=str)
def test_a_catalog_that_bears_a_repeat_gets_the_same_request_again_at_once(clock, can):
    def answer(ids: list[str]) -> Uploaded:
        requests.append((catalog.scopes[-1], *ids))
        if len(requests) < 3:
            raise lost()
        return Uploaded()

    requests: list[tuple[str, ...]] = []
    catalog = Cued(answer)
    catalog.can = Capabilities(max_batch_items=100, **can)
    batch = a_batch(3)
    assert outcomes(list(send_batch(batch, send_tools(catalog, attempts=3)))) == [(at, Mark.SUCCESS) for at in range(3)]
    assert requests == [("job", "i0", "i1", "i2")] * 3
    assert clock.now < 1000.0 + catalog.settle_s


def test_a_request_that_was_stored_in_part_is_no_repeat_of_itself(clock):
    def answer(ids: list[str]) -> Uploaded:
        requests.append(ids)
        if len(requests) == 1:
            catalog.there.update(["i1"])
            raise lost()
        assert clock.now >= 1000.0 + catalog.settle_s
        return Uploaded()

    requests: list[list[str]] = []
    catalog = Cued(answer)
    catalog.can = Capabilities(max_batch_items=100, honours_keys=True)
    list(taken_up(catalog, a_batch(3), send_tools(catalog, attempts=3), clock))
    assert requests == [["i0", "i1", "i2"], ["i0", "i2"]]


@pytest.mark.parametrize(("most", "waits"), [(1, False), (100, True)])
def test_what_an_earlier_claim_sent_alone_has_the_key_of_then(clock, most, waits):
    catalog = Cued(lambda _ids: Uploaded())
    catalog.can = Capabilities(max_batch_items=most, honours_keys=True)
    batch = a_batch(2, uncertain=(0, 1), settled_at=clock.now + 5.0)
    list(send_batch(batch, send_tools(catalog)))
    assert bool(batch.open) == waits


def test_an_item_that_is_never_answered_is_an_error_once_it_is_sure_not_to_be_there(clock):
    def answer(ids: list[str]) -> Uploaded:
        sent_at.setdefault(tuple(ids), []).append(clock.now)
        if "i1" in ids:
            raise lost()
        return Uploaded()

    sent_at: dict[tuple[str, ...], list[float]] = {}
    catalog = Cued(answer)
    batch, tools = a_batch(4), send_tools(catalog, attempts=3)
    reports = [one for turn in taken_up(catalog, batch, tools, clock) for one in turn]
    assert sorted(reports) == [(0, Mark.SUCCESS), (1, Mark.ERROR), (2, Mark.SUCCESS), (3, Mark.SUCCESS)]
    last = max(at for times in sent_at.values() for at in times)
    assert clock.now >= last + catalog.settle_s
    assert sum(len(times) for times in sent_at.values()) <= 7
    assert catalog.there == Counter(["i0", "i2", "i3"])


def test_a_refusal_that_may_be_none_is_an_error_only_if_the_item_is_not_there():
    def answer(ids: list[str]) -> Uploaded:
        catalog.there.update(["i1"])
        return Uploaded({1: Refusal("no"), 2: Refusal("no")}, doubted={1, 2})

    catalog = Cued(answer)
    assert outcomes(sent(catalog, 3)) == [(0, Mark.SUCCESS), (1, Mark.SUCCESS), (2, Mark.ERROR)]


def test_an_item_that_was_answered_and_is_not_there_goes_under_another_key():
    def answer(ids: list[str]) -> Uploaded:
        if len(catalog.scopes) < 3:
            return Uploaded({0: Refusal("quota", retry=True)}, doubted={0})
        return Uploaded()

    catalog = Cued(answer)
    assert outcomes(sent(catalog, 1, attempts=3)) == [(0, Mark.SUCCESS)]
    assert catalog.scopes == ["job", "job/1", "job/2"]


def test_a_catalog_that_contradicts_itself_for_ever_ends_in_errors_with_its_words():
    catalog = Cued(lambda ids: Uploaded({at: Refusal("quota exceeded", retry=True) for at in range(len(ids))}))
    reports = sent(catalog, 3, patience_s=0.05)
    assert outcomes(reports) == [(at, Mark.ERROR) for at in range(3)]
    assert all("quota exceeded" in error.message for report in reports for _, error in report.errors)
    assert not catalog.there


def test_a_catalog_that_takes_nothing_is_not_well_because_it_answers(clock):
    catalog = Cued(lambda ids: Uploaded({at: Refusal("quota exceeded", retry=True) for at in range(len(ids))}))
    tools = send_tools(catalog, patience_s=50.0)
    slept = tools.control.wait

    def wait(seconds: float, *why: Any) -> None:
        clock.now += 1.0
        slept(0.0, *why)

    tools.control.wait = wait
    list(send_batch(a_batch(2), tools))
    assert clock.now > 1050.0


def test_a_catalog_whose_look_ups_fail_for_ever_ends_in_errors_that_say_so():
    def broken(_data_source: str, _items: Items) -> set[str]:
        raise CatalogUnavailable("a page instead of the item")

    def answer(ids: list[str]) -> Uploaded:
        raise lost(at_work=False)

    catalog = Cued(answer)
    catalog.stored = broken
    reports = sent(catalog, 2, patience_s=0.05)
    assert outcomes(reports) == [(0, Mark.DOUBTED), (1, Mark.DOUBTED)]
    assert all(
        "may be in the catalog all the same" in error.message for report in reports for _, error in report.errors
    )


def test_what_is_halted_before_it_is_sent_is_not_in_doubt():
    catalog = Cued(lambda _ids: Uploaded())
    batch, tools = a_batch(2), send_tools(catalog)
    tools.control.halt(Halt.PAUSE)
    with pytest.raises(HaltedError):
        list(send_batch(batch, tools))
    assert (batch.open, batch.uncertain) == ([0, 1], set())


class KeepsCopies(Cued):
    """Honours keys, and stores its first request 40 s after it came, without an answer; meanwhile `refuses` repeats.

    Requests with `poison` take as long and store nothing.
    """

    def __init__(self, clock: Clock, refuses: Exception, *, poison: str = "") -> None:
        super().__init__(lambda _ids: Uploaded())
        self.can = Capabilities(max_batch_items=100, honours_keys=True)
        self.clock, self.refuses, self.poison = clock, refuses, poison
        self.requests: list[tuple[str, ...]] = []
        self.at_work: dict[tuple[str, ...], float] = {}
        self.repeats = 0

    def upload(self, encoded: Any, *, scope: str, before_request: Callable[[], object]) -> Uploaded:
        before_request()
        self._work()
        key = (scope, *encoded.items.item_ids)
        if key in self.at_work:
            self.repeats += 1
            raise self.refuses
        if key in self.requests and self.poison not in key:
            return Uploaded()
        self.requests.append(key)
        if len(self.requests) > 1 and self.poison not in key:
            self.there.update(key[1:])
            return Uploaded()
        self.at_work[key] = self.clock.now + 40.0
        self.clock.now += 5.0
        raise lost()

    def stored(self, data_source: str, items: Items) -> set[str]:
        self._work()
        return super().stored(data_source, items)

    def _work(self) -> None:
        for key in [key for key, until in self.at_work.items() if until <= self.clock.now]:
            del self.at_work[key]
            if self.poison not in key:
                self.there.update(key[1:])


def timed(monkeypatch, catalog: KeepsCopies, *, skip: bool = False) -> SendTools:
    """Waits pass at once on the clock."""

    def wait(seconds: float, *_why: Any) -> None:
        catalog.clock.now += seconds

    tools = replace(send_tools(catalog, attempts=3, skip=skip), retry=RetryPolicy(attempts=3, base_s=2.0))
    monkeypatch.setattr(tools.control, "wait", wait)
    return tools


REFUSES = [
    CatalogUnavailable("too early (425)"),
    CatalogUnavailable("not available (503)"),
    CatalogUnavailable("failed (500)", maybe_stored=True),
    CatalogRejected("conflict (409)"),
]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("refuses", REFUSES, ids=str)
def test_a_request_is_not_split_while_it_may_be_at_work_whatever_its_repeats_get(clock, monkeypatch, refuses, skip):
    catalog = KeepsCopies(clock, refuses)
    tools = timed(monkeypatch, catalog, skip=skip)
    batch = a_batch(8)
    list(taken_up(catalog, batch, tools, clock))
    assert catalog.there == Counter(f"i{number}" for number in range(8))
    assert set(batch.marks) == {Mark.SUCCESS}
    assert catalog.repeats >= 1
    assert catalog.requests == [("job", *(f"i{number}" for number in range(8)))]


@pytest.mark.parametrize("refuses", REFUSES, ids=str)
def test_an_item_that_a_catalog_chokes_on_ends_as_an_error_although_repeats_are_refused(clock, monkeypatch, refuses):
    catalog = KeepsCopies(clock, refuses, poison="i2")
    batch, tools = a_batch(4), timed(monkeypatch, catalog)
    turns = sum(1 for _ in taken_up(catalog, batch, tools, clock))
    assert turns < 200
    assert catalog.there == Counter(["i0", "i1", "i3"])
    assert bytes(batch.marks) == bytes([Mark.SUCCESS, Mark.SUCCESS, Mark.ERROR, Mark.SUCCESS])


def test_a_repeat_that_would_lack_what_was_stored_meanwhile_is_not_sent(clock, monkeypatch):
    def existing(_data_source: str, item_ids: list[str]) -> set[str]:
        if catalog.looks == 1:  # right after the look-up by content that found nothing
            catalog.there.update(["i1"])
        return {item_id for item_id in item_ids if item_id in catalog.there}

    def answer(ids: list[str]) -> Uploaded:
        requests.append(ids)
        if len(requests) == 1:
            raise lost()
        assert ids == ["i0", "i1", "i2"] or clock.now >= 1000.0 + catalog.settle_s
        return Uploaded()

    requests: list[list[str]] = []
    catalog = Cued(answer)
    catalog.can = Capabilities(max_batch_items=100, honours_keys=True)
    monkeypatch.setattr(catalog, "existing", existing)
    list(taken_up(catalog, a_batch(3), send_tools(catalog, attempts=3, skip=True), clock))
    assert requests[1] == ["i0", "i1", "i2"]


def test_a_repeat_that_another_answer_gave_another_key_waits(clock):
    def answer(ids: list[str]) -> Uploaded:
        requests.append((catalog.scopes[-1], *ids))
        assert catalog.scopes[-1] == "job" or ids == ["i1"] or clock.now >= 1005.0
        if requests == [("job", "i1")]:
            return Uploaded({0: Refusal("quota", retry=True)}, doubted={0})
        return Uploaded()

    requests: list[tuple[str, ...]] = []
    catalog = Cued(answer)
    catalog.can = Capabilities(max_batch_items=1, honours_keys=True)
    batch = a_batch(2, uncertain=(0, 1), settled_at=clock.now + 5.0)
    list(taken_up(catalog, batch, send_tools(catalog, attempts=3), clock))
    assert requests[0] == ("job", "i1")
    assert catalog.there == Counter(["i0", "i1"])


def test_a_request_that_is_more_than_the_catalog_takes_by_now_is_not_repeated_in_pieces(clock):
    def answer(ids: list[str]) -> Uploaded:
        if len(catalog.scopes) == 1:
            catalog.can = Capabilities(max_batch_items=2, honours_keys=True)
            raise lost()
        assert clock.now >= 1000.0 + catalog.settle_s
        return Uploaded()

    catalog = Cued(answer)
    catalog.can = Capabilities(max_batch_items=100, honours_keys=True)
    turns = sum(1 for _ in taken_up(catalog, a_batch(4), send_tools(catalog, attempts=3), clock))
    assert turns < 200
    assert catalog.there == Counter(["i0", "i1", "i2", "i3"])


def test_a_repeat_that_was_held_back_until_its_key_may_be_forgotten_is_looked_up_first(clock, monkeypatch):
    def answer(ids: list[str]) -> Uploaded:
        if len(catalog.scopes) == 1:
            raise lost()
        assert not catalog.there, "sent again"
        return Uploaded()

    def wait(_items: int, _control: Control) -> None:
        if len(catalog.scopes) == 1:
            clock.now += 300.0
            catalog.there.update(["i0", "i1"])

    catalog = Cued(answer)
    catalog.can = Capabilities(max_batch_items=100, honours_keys=True)
    batch, tools = a_batch(2), send_tools(catalog, attempts=3)
    monkeypatch.setattr(tools.pace, "wait", wait)
    list(taken_up(catalog, batch, tools, clock))
    assert catalog.there == Counter(["i0", "i1"])


def throttles() -> CatalogUnavailable:
    return CatalogUnavailable("asks to slow down", throttled=True, retry_after_s=0.0)


@pytest.mark.parametrize("function", ["upload", "stored", "existing", "capabilities"])
def test_a_catalog_that_asks_to_come_again_at_once_for_ever_is_waited_for_until_the_job_is_cancelled(
    clock, monkeypatch, function
):
    def throttled(*_args: Any, **_options: Any) -> None:
        asked_at.append(clock.now)
        assert len(asked_at) < 20, "nothing waits"
        raise throttles()

    def wait(seconds: float, reason: WaitReason, _detail: str) -> None:
        waits.append((seconds, reason))
        clock.now += seconds
        if len(waits) == 10:
            tools.control.halt(Halt.CANCEL)
        tools.control.check()

    for room in ("throttle", "pace", "limiter"):
        monkeypatch.setattr(f"blade_server.core.engine.upload.{room}.time", clock)
    asked_at: list[float] = []
    waits: list[tuple[float, WaitReason]] = []
    catalog = Cued(lambda _ids: Uploaded())
    monkeypatch.setattr(catalog, function, throttled)
    throttle = Throttle(lambda _seconds: None, lambda: 0.0)
    pace = Pace(Limiter(0.0), throttle)
    tools = replace(send_tools(catalog, skip=True), throttle=throttle, pace=pace)
    monkeypatch.setattr(tools.control, "wait", wait)
    batch = a_batch(2, uncertain=(0, 1) if function == "stored" else ())
    with pytest.raises(HaltedError):
        list(send_batch(batch, tools))
    assert len(asked_at) == len(waits) == 10
    assert waits == [(min(30.0, 0.5 * 2**at), WaitReason.CATALOG_THROTTLED) for at in range(10)]
    assert len(batch.open) == 2
