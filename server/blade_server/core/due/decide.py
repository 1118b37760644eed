"""Which of the due times that have come is started, which went by, and which is next."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from blade_server.core.schedule.due_times import due_times, last_due, next_due
from blade_server.model.due import Due
from blade_server.model.sync import CatchUp, Schedule, Sync

ON_TIME_S = 60.0
"""A due time that is started by then is no missed one."""
MOST_COUNTED = 1000


def decide(sync: Sync, now: datetime) -> Due:
    """What to do about a sync whose `next_run_time` has come."""
    schedule, first = sync.spec.schedule, sync.next_run_time
    if schedule is None or first is None:
        return Due(time=None, next_time=None)
    time = _latest(schedule, first, now, sync.name)
    missed, more = _missed(schedule, first, time, now, sync.name)
    return Due(
        time=time,
        next_time=next_due(schedule, now, sync.name),
        missed=missed,
        first_missed=first if missed else None,
        more_missed=more,
    )


def _latest(schedule: Schedule, first: datetime, now: datetime, salt: str) -> datetime | None:
    """The latest due time that may still be started."""
    window_s = ON_TIME_S
    if schedule.catch_up is CatchUp.LATEST:
        window_s = max(window_s, schedule.catch_up_window_s)
    latest = last_due(schedule, now, window_s, salt)
    if latest is not None and latest > first:
        return latest
    return first if (now - first).total_seconds() <= window_s else None


def _missed(schedule: Schedule, first: datetime, time: datetime | None, now: datetime, salt: str) -> tuple[int, bool]:
    """How many went by; True: and more."""
    if time == first:
        return 0, False
    others = due_times(schedule, first, time or now, salt)
    count = 1 + sum(1 for _ in islice(others, MOST_COUNTED))
    if count > MOST_COUNTED:
        return MOST_COUNTED, True
    return (count, False) if time is None else (count - 1, False)
