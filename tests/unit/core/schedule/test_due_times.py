"""Due times against an enumeration that shares nothing with them: minute by minute, over all of a change of clocks."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, pairwise, product
from zoneinfo import ZoneInfo

import pytest

from blade_server.core.schedule.due_times import due_times, last_due, next_due
from blade_server.model.sync import Schedule

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CHANGES = {
    "America/New_York": ("2024-03-10", "2024-11-03", "2031-03-09"),
    "Europe/Berlin": ("2024-03-31", "2024-10-27", "1996-10-27"),
    "Australia/Lord_Howe": ("2024-04-07", "2024-10-06"),  # by half an hour
    "America/Havana": ("2024-03-10", "2024-11-03"),  # at midnight
    "America/Sao_Paulo": ("2018-02-18", "2018-11-04"),
    "Asia/Beirut": ("2022-03-27", "2022-10-30"),
    "Asia/Kathmandu": ("2024-01-01",),
    "Africa/Casablanca": ("2024-03-10", "2024-04-14"),
    "Pacific/Apia": ("2011-12-30",),  # a day that never was
    "Europe/Dublin": ("2024-03-31", "2024-10-27"),
    "UTC": ("2024-02-29",),
}
CRONS = (
    "30 2 * * *",
    "0 0 * * *",
    "15,45 1 * * *",
    "*/15 2 * * *",
    "30 1-3 * * *",
    "0 */2 * * *",
    "*/20 * * * *",
    "7 * * * *",
    "59 23 * * SUN",
    "0 12 31 * *",
    "10 0 * * MON-SAT",
    "0 0 1,15 * MON",
)


def allowed(field: str, least: int, most: int) -> set[int]:
    """What a field means; names of days and months are not for this one."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = (str(least), "-", str(most)) if span == "*" else span.partition("-")
        end = int(high or (most if step else low))
        found |= set(range(int(low), end + 1, int(step or 1)))
    return found


@cache
def shown(zone: str, begin: datetime, end: datetime) -> dict[datetime, list[datetime]]:
    """What a wall clock shows, and when it does."""
    found: dict[datetime, list[datetime]] = {}
    for place in range(int((end - begin) / MINUTE)):
        time = begin + place * MINUTE
        found.setdefault(time.astimezone(ZoneInfo(zone)).replace(tzinfo=None), []).append(time)
    return found


class Enumerated:
    """The same by looking at every minute that passes, and at every one that a wall clock could show."""

    def __init__(self, cron: str, zone: str, begin: datetime, end: datetime) -> None:
        names = {"SUN": "0", "MON": "1", "SAT": "6"}
        for name, number in names.items():
            cron = cron.replace(name, number)
        minute, hour, day, month, weekday = cron.split()
        self._minutes, self._hours = allowed(minute, 0, 59), allowed(hour, 0, 23)
        self._days, self._months = allowed(day, 1, 31), allowed(month, 1, 12)
        self._weekdays = {number % 7 for number in allowed(weekday, 0, 6)}
        self._either = day[0] != "*" and weekday[0] != "*"
        self._passing = hour == "*"
        self._shown = shown(zone, begin, end)

    def _means(self, wall: datetime) -> bool:
        by_day, by_weekday = wall.day in self._days, (wall.weekday() + 1) % 7 in self._weekdays
        day = (by_day or by_weekday) if self._either else (by_day and by_weekday)
        return day and wall.month in self._months and wall.hour in self._hours and wall.minute in self._minutes

    def times(self) -> list[datetime]:
        if self._passing:
            return sorted(time for wall, times in self._shown.items() if self._means(wall) for time in times)
        found = set()
        walls = sorted(self._shown)
        for place in range(int((walls[-1] - walls[0]) / MINUTE) + 1):
            wall = walls[0] + place * MINUTE
            if self._means(wall):
                later = self._shown.get(wall) or [min(self._shown[other][0] for other in walls if other > wall)]
                found.add(min(later))
        return sorted(found)


@pytest.mark.parametrize("zone", CHANGES)
def test_every_due_time_is_there_once_and_no_other(zone: str) -> None:
    for text, cron in product(CHANGES[zone], CRONS):
        middle = datetime.fromisoformat(text).replace(tzinfo=UTC)
        begin, end = middle - DAY, middle + DAY
        wanted = Enumerated(cron, zone, begin - DAY, end + DAY).times()
        schedule = Schedule(cron=cron, time_zone=zone)
        got = list(due_times(schedule, begin - MINUTE, end, "x"))
        assert got == [time for time in wanted if begin <= time <= end], (zone, cron, text)


def test_the_next_one_is_the_same_wherever_one_asks_from() -> None:
    rng = random.Random(5)
    for _ in range(300):
        zone = rng.choice(list(CHANGES))
        schedule = Schedule(cron=rng.choice(CRONS), time_zone=zone)
        middle = datetime.fromisoformat(rng.choice(CHANGES[zone])).replace(tzinfo=UTC)
        after = middle + timedelta(seconds=rng.uniform(-2 * 86400, 2 * 86400))
        due = next_due(schedule, after, "x")
        assert due is not None
        assert due > after
        between = after + (due - after) * rng.random()
        assert next_due(schedule, between, "x") == due
        assert next_due(schedule, due - timedelta(microseconds=1), "x") == due


@pytest.mark.parametrize("every_s", [10.0, 90.0, 3600.0, 7 * 86400.0])
def test_every_goes_by_the_clock_and_not_by_when_one_asks(every_s: float) -> None:
    schedule = Schedule(every_s=every_s)
    begin = datetime(2026, 3, 29, 0, 30, 7, 3, tzinfo=UTC)
    times = list(islice(_chain(schedule, begin), 50))
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(seconds=every_s)}
    assert all(time.timestamp() % every_s == 0 for time in times)
    assert begin < times[0] <= begin + timedelta(seconds=every_s)


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(cron="*/5 * * * *", jitter_s=900),
        Schedule(cron="0 2 * * *", jitter_s=3600, time_zone="Europe/Berlin"),
        Schedule(every_s=60, jitter_s=60),
    ],
)
def test_jitter_delays_each_time_by_an_amount_of_its_own_that_all_agree_on(schedule: Schedule) -> None:
    plain = Schedule(cron=schedule.cron, every_s=schedule.every_s, time_zone=schedule.time_zone)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    end = begin + 20 * (timedelta(days=1) if schedule.cron.startswith("0 2") else timedelta(minutes=30))
    later = timedelta(seconds=schedule.jitter_s)
    for salt in ("a", "b"):
        jittered, exact = (list(due_times(one, begin, end, salt)) for one in (schedule, plain))
        assert jittered == sorted(set(jittered))
        assert abs(len(jittered) - len(exact)) <= later / (exact[1] - exact[0]) + 1
        assert all(any(time - later <= base <= time for base in [begin, *exact]) for time in jittered)
        for time in jittered:
            assert next_due(schedule, time - timedelta(milliseconds=1), salt) == time
    first, second = (list(due_times(schedule, begin, end, salt)) for salt in ("a", "b"))
    assert first != second


def test_the_last_one_before_a_moment_is_found_within_a_window_and_not_beyond() -> None:
    schedule = Schedule(cron="0 2 * * *")
    now = datetime(2026, 5, 5, 3, tzinfo=UTC)
    assert last_due(schedule, now, 3600.0 * 2, "x") == datetime(2026, 5, 5, 2, tzinfo=UTC)
    assert last_due(schedule, now, 1800.0, "x") is None
    assert last_due(schedule, datetime(2026, 5, 5, 2, tzinfo=UTC), 60.0, "x") == datetime(2026, 5, 5, 2, tzinfo=UTC)


def _chain(schedule: Schedule, after: datetime) -> Iterable[datetime]:
    while (due := next_due(schedule, after, "x")) is not None:
        yield due
        after = due
