"""The rates of a job, a source and the catalog."""

from __future__ import annotations

import pytest
from tests.support.clock import Clock

from blade_server.core.engine.upload import limiter, pace, throttle
from blade_server.core.engine.upload.limiter import Limiter
from blade_server.core.engine.upload.pace import LISTEN_EVERY_S, Pace, SharedRate
from blade_server.core.engine.upload.throttle import Throttle
from blade_server.model import WaitReason


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (limiter, pace, throttle):
        monkeypatch.setattr(module, "time", clock)
    return clock


def unheld() -> float:
    """No other replica has told of a hold."""
    return 0.0


def test_a_limiter_hands_out_times_at_its_rate(clock):
    limiter = Limiter(10.0)
    assert [limiter.reserve(5) for _ in range(3)] == [0.0, 0.5, 1.0]
    limiter.forget()
    assert limiter.reserve(5) == 0.0
    clock.now += 10.0
    assert limiter.reserve(5) == 0.0
    limiter.set_rate(0.0)
    assert [limiter.reserve(1000) for _ in range(2)] == [0.0, 0.0]


def test_a_throttle_halves_the_rate_once_for_many_answers_and_then_lets_it_grow(clock):
    held: list[float] = []
    throttled = Throttle(held.append, unheld)
    for _ in range(30):
        clock.now += 0.1
        throttled.sent(100)
    for _ in range(8):
        throttled.slow_down(2.0)
    assert throttled.held_s == pytest.approx(2.0)
    assert held == [2.0] * 8
    halved = throttled.largest
    assert halved == pytest.approx(1000 / 2 / 2, rel=0.1)
    clock.now += 2.0
    rates = []
    for _ in range(60):
        clock.now += 1.01
        throttled.sent(10)
        rates.append(throttled.largest)
    assert rates[5] > halved
    assert rates[-1] is None, "free again in the end"


def test_a_throttle_at_the_very_first_upload_holds_and_does_not_slow_down(clock):
    throttled = Throttle(lambda _seconds: None, unheld)
    throttled.slow_down(1.0)
    assert throttled.held_s == pytest.approx(1.0)
    assert throttled.largest is None


def test_holds_grow_whatever_is_asked_until_something_is_accepted(clock):
    held: list[float] = []
    throttled = Throttle(held.append, unheld)
    for asked_s in (0.0, 0.0, 0.0, 9.0, 0.0):
        throttled.slow_down(asked_s)
        throttled.slow_down(asked_s)  # another thread hears of the same overload
        throttled.sent(0)
        clock.now += throttled.held_s
    assert held[::2] == held[1::2] == [0.5, 1.0, 2.0, 9.0, 8.0]
    throttled.sent(1)
    throttled.slow_down(0.0)
    assert held[-1] == 0.5


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
    limiter = Limiter(0.0)
    waits = Waits(clock, lambda: change(limiter))
    free = Throttle(lambda _seconds: None, unheld)
    Pace(limiter, free, [SharedRate(10.0, lambda _items: 3.0)]).wait(30, waits)
    assert waits.waited_s == pytest.approx(3.0)


def test_a_new_limit_of_a_job_is_heard_by_those_who_wait_for_the_old_one(clock):
    limiter = Limiter(1.0)
    limiter.reserve(1000)
    waits = Waits(clock, lambda: limiter.set_rate(0.0))
    free = Throttle(lambda _seconds: None, unheld)
    Pace(limiter, free).wait(30, waits)
    assert waits.waited_s == pytest.approx(LISTEN_EVERY_S)
