"""Counters, rate and expected end of a job."""

from __future__ import annotations

import pytest
from tests.support.clock import Clock
from tests.support.nouns import a_job

from blade_server.core.engine.record import progress
from blade_server.core.engine.record.progress import Reported
from blade_server.model import JobLimits, WaitReason


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_expected_end_follows_from_what_is_left_and_the_rate(clock):
    shown = progress.Progress(a_job(total_items=1000), batch_size=100)
    clock.now += 2.0
    shown.committed(success=180, error=20, skipped=0)
    display = shown.display(None, "")
    assert display.items_per_second == pytest.approx(100.0)
    assert display.current_operation == "Processing batch 3/10"
    assert display.seconds_left == pytest.approx(8)


def test_no_end_is_expected_where_the_total_or_the_rate_is_unknown(clock):
    unknown_total = progress.Progress(a_job(), batch_size=100)
    clock.now += 1.0
    unknown_total.committed(success=50, error=0, skipped=0)
    assert unknown_total.display(None, "").seconds_left is None
    nothing_moves = progress.Progress(a_job(total_items=10), batch_size=100)
    clock.now += 1.0
    assert nothing_moves.display(None, "").seconds_left is None


@pytest.mark.parametrize(
    ("total", "seconds"), [(10**9, 8 * 3600.0), (2**31 - 1, 30 * 86400.0), (10**18, 1.0), (10**9, 1e12)]
)
def test_no_end_is_expected_that_is_further_away_than_ten_years(clock, total, seconds):
    shown = progress.Progress(a_job(total_items=total), batch_size=100)
    shown.committed(success=100, error=0, skipped=0)
    clock.now += seconds
    display = shown.display(WaitReason.CATALOG_DOWN, "no answer")
    assert display.seconds_left is None
    assert display.items_per_second > 0


def test_an_end_within_ten_years_is_expected(clock):
    shown = progress.Progress(a_job(total_items=9 * 365 * 86400 + 1), batch_size=100)
    clock.now += 1.0
    shown.committed(success=1, error=0, skipped=0)
    assert shown.display(None, "").seconds_left == pytest.approx(9 * 365 * 86400.0)


def test_a_pause_does_not_count_into_the_rate(clock):
    shown = progress.Progress(a_job(total_items=1000), batch_size=100)
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
    shown = progress.Progress(a_job(), batch_size=100)
    shown.committed(success=successes, error=errors, skipped=0)
    assert (shown.too_many_errors(limits) is not None) is stops


def test_a_share_of_errors_is_one_of_the_rows_that_were_begun():
    limits, reported = JobLimits(max_error_share=0.05), Reported(a_job())
    reported.begin(3000)
    assert reported.add(105, errors=True, limits=limits) is None
    assert "151 of 3000 items failed" in (reported.add(46, errors=True, limits=limits) or "")
    reported.add(2849, errors=False, limits=limits)
    assert reported.too_many_errors(limits) is not None
    reported.add(1000, errors=False, limits=limits)
    assert reported.too_many_errors(limits) is None


def test_rows_that_were_begun_in_a_pass_that_ended_early_do_not_count():
    limits, reported = JobLimits(max_error_share=0.5), Reported(a_job())
    reported.begin(1000)
    assert reported.add(100, errors=True, limits=limits) is None
    reported.anew()
    assert reported.too_many_errors(limits) is not None


def test_a_number_of_errors_is_told_at_once():
    reported = Reported(a_job())
    reported.begin(3000)
    assert reported.add(11, errors=True, limits=JobLimits(max_errors=10)) is not None
