"""Cron expressions of five fields, and the moments they mean in a time zone.

The library reads them and goes through the times of a wall clock. What that is worth where clocks change is decided
here: a time that is left out is due once, at the end of the gap, and one that comes twice is due the first time. Where
the hour is `*` an expression means each hour as it passes, so both of two equal hours count, and none is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MAX_CHARACTERS = 200
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_EXAMPLE = "write minute, hour, day of month, month and day of week, as '30 2 * * MON-FRI'"
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ANY_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - of a wall clock
_MINUTE = timedelta(minutes=1)
_HOUR_FIELD = 1


def check_cron(cron: str) -> str:
    """What is wrong with an expression, in words; "" if nothing is."""
    fields = cron.split()
    named = _NAMED.get(cron.strip().lower())
    if named:
        return f"{cron!r} is written {named!r} here"
    if len(cron) > MAX_CHARACTERS:
        return f"has {len(cron)} characters; at most {MAX_CHARACTERS} are allowed"
    if len(fields) != len(_FIELDS):
        more = "; there is no field for seconds, `every` has them" if len(fields) == len(_FIELDS) + 1 else ""
        return f"{cron!r} has {len(fields)} fields, not 5: {_EXAMPLE}{more}"
    for place, field in enumerate(fields):
        alone = ["*"] * len(fields)
        alone[place] = field
        if not _reads(" ".join(alone)):
            return f"{cron!r} has {field!r} as its {_FIELDS[place]}, which cannot be read: {_EXAMPLE}"
    if not _reads(cron) or next(_on_the_wall(cron, _ANY_DAY), None) is None:
        return f"{cron!r} is never due: no such day is in that month"
    return ""


def _reads(cron: str) -> bool:
    try:
        CronSim(cron, _ANY_DAY)
    except CronSimError:
        return False
    return True


def next_of_cron(cron: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first moment behind `after`, both UTC, of an expression that was checked; None: there is none."""
    times = _as_they_pass if cron.split()[_HOUR_FIELD] == "*" else _once_a_time
    return next((time for time in times(cron, zone, after) if time > after), None)


def _as_they_pass(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    for time in CronSim(cron, after.astimezone(zone)):
        yield time.astimezone(UTC)


def _once_a_time(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    for wall in _on_the_wall(cron, after.astimezone(zone).replace(tzinfo=None)):
        yield _moment(wall, zone)


def _on_the_wall(cron: str, after: datetime) -> Iterator[datetime]:
    yield from CronSim(cron, after)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """When a wall clock first shows this, or first shows more than this."""
    time = wall.replace(tzinfo=zone)
    while time.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall:  # in a gap
        wall += _MINUTE
        time = wall.replace(tzinfo=zone)
    return time.astimezone(UTC)
