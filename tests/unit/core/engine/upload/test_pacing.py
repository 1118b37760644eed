"""The rates of a job, a source and the catalog."""

from __future__ import annotations

import pytest
from tests.support.clock import Clock

from blade_server.core.engine.upload import pacing
from blade_server.model import WaitReason


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


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
