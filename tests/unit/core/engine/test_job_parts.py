"""The small parts of the job engine: progress, pace, control, batches, retry."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from blade_server.arrow.items import Items
from blade_server.catalog.forms.multipart import Form
from blade_server.core import retry
from blade_server.core.engine.batches import BATCH_BYTES, ENCODED_BYTES, Supply
from blade_server.core.engine.halt import Control, Halt, HaltedError
from blade_server.core.engine.ledger import item_key
from blade_server.core.engine.read.reader import Chunk
from blade_server.core.engine.record import progress
from blade_server.core.engine.upload import pacing
from blade_server.errors import CatalogUnavailable, WarehouseRefused
from blade_server.model import (
    Classification,
    Item,
    Job,
    JobLimits,
    JobSpec,
    RowMapping,
    Source,
    SourceConfig,
    Status,
    WaitReason,
)


class Clock:
    """Stands in for `time.monotonic` where a test is about the passing of time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def job(**changes):
    source = Source(
        name="s",
        display_name="",
        data_type="t",
        enabled=True,
        config=SourceConfig(catalog="c", schema="s", table="t"),
        mapping=RowMapping(item_id="id", classification=Classification(value="UNCLASS")),
    )
    now = datetime.now(UTC)
    values = {"status": Status.RUNNING, "create_time": now, "update_time": now, **changes}
    return Job(job_id="job-1", spec=JobSpec(sql="", source="s", data_type="t"), source=source, **values)


# ---------------------------------------------------------------------------------------------------- progress


def test_the_expected_end_follows_from_what_is_left_and_the_rate(clock):
    shown = progress.Progress(job(total_items=1000), batch_size=100)
    clock.now += 2.0
    shown.committed(success=180, error=20, skipped=0)
    display = shown.display(None, "")
    assert display.items_per_second == pytest.approx(100.0)
    assert display.current_operation == "Processing batch 3/10"
    left = display.estimated_completion - datetime.now(UTC)
    assert left == pytest.approx(timedelta(seconds=8), abs=timedelta(seconds=1))


def test_no_end_is_expected_where_the_total_or_the_rate_is_unknown(clock):
    unknown_total = progress.Progress(job(), batch_size=100)
    clock.now += 1.0
    unknown_total.committed(success=50, error=0, skipped=0)
    assert unknown_total.display(None, "").estimated_completion is None
    nothing_moves = progress.Progress(job(total_items=10), batch_size=100)
    clock.now += 1.0
    assert nothing_moves.display(None, "").estimated_completion is None


@pytest.mark.parametrize(
    ("total", "seconds"), [(10**9, 8 * 3600.0), (2**31 - 1, 30 * 86400.0), (10**18, 1.0), (10**9, 1e12)]
)
def test_no_end_is_expected_that_is_further_away_than_ten_years(clock, total, seconds):
    shown = progress.Progress(job(total_items=total), batch_size=100)
    shown.committed(success=100, error=0, skipped=0)
    clock.now += seconds
    display = shown.display(WaitReason.CATALOG_DOWN, "no answer")
    assert display.estimated_completion is None
    assert display.items_per_second > 0


def test_an_end_within_ten_years_is_expected(clock):
    shown = progress.Progress(job(total_items=9 * 365 * 86400 + 1), batch_size=100)
    clock.now += 1.0
    shown.committed(success=1, error=0, skipped=0)
    left = shown.display(None, "").estimated_completion - datetime.now(UTC)
    assert left == pytest.approx(timedelta(days=9 * 365), rel=0.01)


def test_a_pause_does_not_count_into_the_rate(clock):
    shown = progress.Progress(job(total_items=1000), batch_size=100)
    clock.now += 1.0
    shown.committed(success=100, error=0, skipped=0)
    clock.now += 3600.0
    shown.went_on()
    clock.now += 1.0
    shown.committed(success=100, error=0, skipped=0)
    assert shown.display(None, "").items_per_second == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("limits", "errors", "successes", "stops"),
    [
        (JobLimits(max_errors=3), 3, 0, False),
        (JobLimits(max_errors=3), 4, 0, True),
        (JobLimits(max_errors=0), 1, 99, True),
        (JobLimits(max_error_share=0.1), 99, 0, False),
        (JobLimits(max_error_share=0.1), 10, 90, False),
        (JobLimits(max_error_share=0.1), 11, 89, True),
        (JobLimits(), 10**6, 0, False),
    ],
)
def test_limits_of_errors(clock, limits, errors, successes, stops):
    shown = progress.Progress(job(), batch_size=100)
    shown.committed(success=successes, error=errors, skipped=0)
    assert (shown.too_many_errors(limits) is not None) is stops


# -------------------------------------------------------------------------------------------------------- pace


class Holds:
    """The holds that replicas share, without PostgreSQL."""

    def __init__(self) -> None:
        self.held: list[float] = []

    def hold(self, key: str, seconds: float) -> None:
        self.held.append(seconds)


def test_a_limiter_hands_out_times_at_its_rate(clock):
    limiter = pacing.Limiter(10.0)
    assert [limiter.reserve(5) for _ in range(3)] == [0.0, 0.5, 1.0]
    limiter.forget()
    assert limiter.reserve(5) == 0.0
    clock.now += 10.0
    assert limiter.reserve(5) == 0.0
    limiter.set_rate(0.0)
    assert [limiter.reserve(1000) for _ in range(2)] == [0.0, 0.0]


def test_a_throttle_halves_the_rate_once_for_many_answers_and_then_lets_it_grow(clock):
    holds = Holds()
    throttle = pacing.Throttle(holds)
    for _ in range(30):
        clock.now += 0.1
        throttle.sent(100)
    for _ in range(8):
        throttle.slow_down(2.0)
    assert throttle.held_s == pytest.approx(2.0)
    assert holds.held == [2.0] * 8
    halved = throttle.largest
    assert halved == pytest.approx(1000 / 2 / 2, rel=0.1)
    clock.now += 2.0
    rates = []
    for _ in range(60):
        clock.now += 1.01
        throttle.sent(10)
        rates.append(throttle.largest)
    assert rates[5] > halved
    assert rates[-1] is None, "free again in the end"


def test_a_throttle_at_the_very_first_upload_holds_and_does_not_slow_down(clock):
    throttle = pacing.Throttle(Holds())
    throttle.slow_down(1.0)
    assert throttle.held_s == pytest.approx(1.0)
    assert throttle.largest is None


class Turns(Holds):
    """The turns of a source, without PostgreSQL: each has to wait so long."""

    def __init__(self, wait_s: float) -> None:
        super().__init__()
        self.wait_s = wait_s

    def reserve(self, key: str, items: int, items_per_second: float) -> float:
        return self.wait_s


class Waits:
    """A control whose waits pass at once on the test's clock; `during` happens in the course of the first one."""

    def __init__(self, clock: Clock, during=lambda: None) -> None:
        self.clock = clock
        self.during = during
        self.waited_s = 0.0

    def wait(self, seconds: float, reason: WaitReason, detail: str = "") -> None:
        self.clock.now += seconds
        self.waited_s += seconds
        during, self.during = self.during, lambda: None
        during()

    def check(self) -> None:
        pass


@pytest.mark.parametrize("change", [lambda limiter: limiter.set_rate(500.0), lambda limiter: limiter.forget()])
def test_a_change_of_a_jobs_limits_does_not_cut_the_sources_turn_short(clock, change):
    limiter, turns = pacing.Limiter(0.0), Turns(3.0)
    waits = Waits(clock, lambda: change(limiter))
    pacing.Pace(limiter, pacing.Throttle(turns), turns, "s", 10.0).wait(30, waits)
    assert waits.waited_s == pytest.approx(3.0)


def test_a_new_limit_of_a_job_is_heard_by_those_who_wait_for_the_old_one(clock):
    limiter, holds = pacing.Limiter(1.0), Holds()
    limiter.reserve(1000)
    waits = Waits(clock, lambda: limiter.set_rate(0.0))
    pacing.Pace(limiter, pacing.Throttle(holds), holds, "s", 0.0).wait(30, waits)
    assert waits.waited_s == pytest.approx(pacing.LISTEN_EVERY_S)


# ----------------------------------------------------------------------------------------------------- control


def test_a_lease_that_ran_out_lets_nothing_start_until_it_is_renewed():
    import time

    control = Control(lease_until=time.monotonic() - 1.0)
    passed = threading.Event()

    def start() -> None:
        control.check()
        passed.set()

    thread = threading.Thread(target=start)
    thread.start()
    assert not passed.wait(0.2)
    control.renew(time.monotonic() + 60.0)
    assert passed.wait(5.0)
    thread.join()


def test_a_stronger_reason_to_halt_replaces_a_weaker_one_and_only_a_pause_is_taken_back():
    control = Control(lease_until=float("inf"))
    control.halt(Halt.PAUSE)
    control.go_on()
    control.check()
    control.halt(Halt.CANCEL)
    control.halt(Halt.PAUSE)
    assert control.halted is Halt.CANCEL
    control.go_on()
    with pytest.raises(HaltedError):
        control.check()


def test_a_halt_ends_a_wait_at_once():
    control = Control(lease_until=float("inf"))
    halted = threading.Event()

    def wait() -> None:
        try:
            control.wait(3600.0, WaitReason.CATALOG_DOWN, "down")
        except HaltedError:
            halted.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while control.why_waiting()[0] is None:
        threading.Event().wait(0.005)
    assert control.why_waiting() == (WaitReason.CATALOG_DOWN, "down")
    with control.busy():
        assert control.why_waiting() == (None, "")
    control.halt(Halt.CANCEL)
    assert halted.wait(5.0)
    thread.join()


def test_a_rate_is_why_also_while_another_thread_sends():
    control = Control(lease_until=float("inf"))

    def wait() -> None:
        with suppress(HaltedError):
            control.wait(3600.0, WaitReason.RATE_LIMITED, "10 items/s")

    thread = threading.Thread(target=wait)
    thread.start()
    while control.why_waiting()[0] is None:
        threading.Event().wait(0.005)
    with control.busy():
        assert control.why_waiting() == (WaitReason.RATE_LIMITED, "10 items/s")
    control.halt(Halt.CANCEL)
    thread.join()


# ----------------------------------------------------------------------------------------------------- batches


def chunk(numbers, *, size=10, uncertain=()):
    items = [Item(f"i{number}", "t", b"x" * size, "UNCLASS", None, {}) for number in numbers]
    return Chunk(items=Items.of(items), keys=[item_key(item.item_id) for item in items], uncertain=frozenset(uncertain))


def batches(supply, *, at_end):
    found = []
    while (batch := supply.next(len(found), at_end)) is not None:
        found.append(batch)
    return found


def test_chunks_are_cut_into_full_batches_and_the_last_one_may_be_short():
    supply = Supply(4, Form("BLADE:t"))
    supply.add(chunk(range(6), uncertain=[5]))
    assert [[item.item_id for item in batch.items] for batch in batches(supply, at_end=False)] == [
        ["i0", "i1", "i2", "i3"]
    ]
    supply.add(chunk(range(6, 11), uncertain=[0]))
    rest = batches(supply, at_end=True)
    assert [[item.item_id for item in batch.items] for batch in rest] == [["i4", "i5", "i6", "i7"], ["i8", "i9", "i10"]]
    assert [batch.uncertain for batch in rest] == [{1, 2}, set()]
    assert all(batch.keys == [item_key(item.item_id) for item in batch.items] for batch in rest)
    assert not supply
    assert supply.used_up() == 2


def test_a_batch_of_large_items_ends_early():
    supply = Supply(100, Form("BLADE:t"))
    supply.add(chunk(range(5), size=BATCH_BYTES // 2 - 2000))
    assert [len(batch.items) for batch in batches(supply, at_end=True)] == [2, 2, 1]


def test_large_rows_of_many_chunks_do_not_wait_for_a_full_number():
    supply, sizes = Supply(1000, Form("BLADE:t")), []
    for number in range(9):
        supply.add(chunk([number], size=BATCH_BYTES // 3))
        sizes += [len(batch.items) for batch in batches(supply, at_end=False)]
    assert sizes == [2, 2, 2, 2]
    assert sum(len(batch.items) for batch in batches(supply, at_end=True)) == 1


def test_items_with_much_metadata_are_encoded_a_few_at_a_time(monkeypatch):
    metadata = {f"key-{number}": "v" * 1000 for number in range(64)}
    items = Items.of([Item(f"i{number}", "t", b"{}", "UNCLASS", None, metadata) for number in range(1000)])
    supply, sizes = Supply(100, form := Form("BLADE:t")), []
    encode = form.encode
    monkeypatch.setattr(form, "encode", lambda some: sizes.append(encode(some).size_bytes) or encode(some))
    supply.add(Chunk(items=items, keys=[item_key(item.item_id) for item in items]))
    found = batches(supply, at_end=True)
    assert [item.item_id for batch in found for item in batch.items] == [f"i{number}" for number in range(1000)]
    assert [key for batch in found for key in batch.keys] == [item_key(item.item_id) for item in items]
    assert max(sizes) < 1.2 * ENCODED_BYTES
    assert max(batch.size_bytes for batch in found) <= BATCH_BYTES


# ------------------------------------------------------------------------------------------------------- retry


def test_transient_errors_are_tried_again_and_others_are_not():
    failures = [CatalogUnavailable("away"), CatalogUnavailable("away", retry_after_s=9.0)]
    waited: list[float] = []

    def call() -> str:
        if failures:
            raise failures.pop(0)
        return "done"

    assert retry.call(call, attempts=3, base_s=2.0, wait=waited.append) == "done"
    assert 2.0 <= waited[0] <= 2.5
    assert waited[1] == 9.0, "not sooner than was asked for"
    with pytest.raises(WarehouseRefused):
        retry.call(lambda: (_ for _ in ()).throw(WarehouseRefused("no")), attempts=3, base_s=0.0, wait=waited.append)
    assert len(waited) == 2


def test_the_last_error_goes_on_after_the_retries():
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise CatalogUnavailable("away")

    with pytest.raises(CatalogUnavailable):
        retry.call(call, attempts=3, base_s=0.0, wait=lambda seconds: None)
    assert len(calls) == 4
