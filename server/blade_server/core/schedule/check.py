"""What a schedule may say."""

from __future__ import annotations

import math
from collections.abc import Iterator

from blade_server.core.schedule.cron import check_cron
from blade_server.core.schedule.zones import check_zone
from blade_server.model.sync import Schedule

MIN_EVERY_S = 10.0
MAX_EVERY_S = 366 * 86400.0
MAX_JITTER_S = 86400.0
MIN_WINDOW_S, MAX_WINDOW_S = 60.0, 7 * 86400.0


def check(schedule: Schedule) -> Iterator[tuple[str, str]]:
    """Yields what is wrong, as (field, description); the fields as in `blade.v1.SyncSpec.Schedule`."""
    if bool(schedule.cron.strip()) == bool(schedule.every_s):
        both = "both are set" if schedule.every_s else "none of the two is set"
        yield "cron", f"{both}; a schedule has `cron` or `every`"
    elif schedule.every_s:
        yield from _check_every(schedule)
    else:
        wrong = check_cron(schedule.cron)
        if wrong:
            yield "cron", wrong
    wrong = check_zone(schedule.time_zone)
    if wrong:
        yield "time_zone", wrong
    if not 0 <= schedule.jitter_s <= MAX_JITTER_S:
        yield "jitter", f"{schedule.jitter_s:g} s is not between 0 and a day"
    elif schedule.every_s and schedule.jitter_s > schedule.every_s:
        yield "jitter", f"{schedule.jitter_s:g} s is more than `every`, {schedule.every_s:g} s"
    if not MIN_WINDOW_S <= schedule.catch_up_window_s <= MAX_WINDOW_S:
        yield "catch_up_window", f"{schedule.catch_up_window_s:g} s is not between a minute and 7 days"


def _check_every(schedule: Schedule) -> Iterator[tuple[str, str]]:
    every_s = schedule.every_s
    if not (math.isfinite(every_s) and MIN_EVERY_S <= every_s <= MAX_EVERY_S):
        yield "every", f"{every_s:g} s is not between 10 s and 366 days"
    elif every_s != math.floor(every_s):
        yield "every", f"{every_s:g} s is no whole number of seconds"
    if schedule.time_zone != "UTC":
        yield "time_zone", f"{schedule.time_zone[:80]!r} is for `cron`; `every` counts from 1970-01-01 00:00 UTC"
