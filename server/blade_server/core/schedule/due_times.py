"""The due times of a schedule that was checked. The same on every server: they follow from it and the salt alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from blade_server.core.schedule.cron import next_of_cron
from blade_server.core.schedule.zones import zone
from blade_server.model.sync import Schedule, SyncSpec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKS_BACK = (60.0, 3600.0, 86400.0)


def next_due(schedule: Schedule, after: datetime, salt: str) -> datetime | None:
    """The first due time behind `after`, in UTC; None: there is none any more.

    `every` is counted from the beginning of 1970, so that an hour is each full hour. `salt`, the sync's name, decides
    how much each time is later within `jitter`: by another amount each time, and the same for whoever asks.
    """
    after = after.astimezone(UTC)
    if not schedule.jitter_s:
        return _next_plain(schedule, after)
    # With jitter, times behind `after` may come of those before it, and in another order.
    plain = _next_plain(schedule, after - timedelta(seconds=schedule.jitter_s))
    first: datetime | None = None
    while plain is not None and (first is None or plain < first):
        due = plain + _later(schedule, plain, salt)
        if due > after and (first is None or due < first):
            first = due
        plain = _next_plain(schedule, plain)
    return first


def first_due(sync: str, spec: SyncSpec, after: datetime) -> datetime | None:
    """The first due time of a sync behind `after`; None: it has no schedule."""
    return None if spec.schedule is None else next_due(spec.schedule, after, sync)


def due_times(schedule: Schedule, after: datetime, until: datetime, salt: str) -> Iterator[datetime]:
    """Those behind `after` and not behind `until`, ascending."""
    due = next_due(schedule, after, salt)
    while due is not None and due <= until:
        yield due
        due = next_due(schedule, due, salt)


def last_due(schedule: Schedule, until: datetime, window_s: float, salt: str) -> datetime | None:
    """The latest due time not behind `until`, and at most `window_s` before it; None: there was none."""
    for back_s in (*(back_s for back_s in _LOOKS_BACK if back_s < window_s), window_s):
        found = list(due_times(schedule, until - timedelta(seconds=back_s), until, salt))
        if found:
            return found[-1]
    return None


def _next_plain(schedule: Schedule, after: datetime) -> datetime | None:
    if schedule.cron:
        return next_of_cron(schedule.cron, zone(schedule.time_zone), after)
    every = timedelta(seconds=schedule.every_s)
    return _EPOCH + ((after - _EPOCH) // every + 1) * every


def _later(schedule: Schedule, plain: datetime, salt: str) -> timedelta:
    digest = blake2b(f"{salt}\0{plain.isoformat()}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    return timedelta(milliseconds=int(share * schedule.jitter_s * 1000))
