"""What a sync may say, before anybody is asked. The checks yield what is wrong, as (field, description)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from blade_server.core.jobs.checks import MAX_BATCH_SIZE, MAX_WORKERS, check_limits, check_overrides, check_range
from blade_server.core.schedule.check import check as check_schedule
from blade_server.core.sources.rules import NAME, check_column, check_pairs
from blade_server.model.sync import Cursor, Deletes, Guards, SyncRetry, SyncSpec
from blade_server.model.sync_report import SyncMode

MAX_SCOPE_CHARACTERS = 200
MAX_RETRIES = 20
MAX_RETRY_BASE_S = 300.0
MAX_CONFIRM_RUNS = 100
MAX_NOTIFICATIONS = 20
MAX_PAUSE_AFTER_FAILURES = 1000
MAX_SPAN_S = 10 * 366 * 86400.0
MIN_FULL_EVERY_S = 3600.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAMED = "1 to 63 lower-case letters, digits and hyphens, beginning with a letter"

Wrong = Iterator[tuple[str, str]]


def check_name(field: str, name: str) -> Wrong:
    """The name of a sync, a destination, a notification."""
    if not NAME.fullmatch(name):
        yield field, f"{name[:80]!r} is not {_NAMED}" if name else "is required"


def check_spec(spec: SyncSpec, *, known_classifications: Sequence[str], prefix: str) -> Wrong:
    """All that can be told of a spec without its source. `prefix`: of the fields, `sync.spec.`."""
    found = (
        *check_name("source", spec.source),
        *check_name("destination", spec.destination),
        *_reading(spec),
        *_deleting(spec),
        *_running(spec),
        *check_pairs("metadata", spec.metadata),
        *check_overrides(spec.overrides, known_classifications),
    )
    for field, description in found:
        yield f"{prefix}{field}", description


def check_span(field: str, span_s: float, least_s: float = 0.0, most_s: float = MAX_SPAN_S) -> Wrong:
    """A duration in seconds."""
    if not least_s <= span_s <= most_s:
        yield field, f"{span_s:g} s is not between {least_s:g} and {most_s:g} s"


def _reading(spec: SyncSpec) -> Wrong:
    mode = spec.mode
    if spec.sql and spec.filter:
        yield "filter", "stands beside `sql`; write the condition into the SQL"
    if spec.sql and mode in (SyncMode.INCREMENTAL, SyncMode.CHANGE_FEED):
        yield "sql", f"is not for the mode {mode}, which reads the source's table itself; leave it out, or take CHANGED"
    if spec.filter and mode is SyncMode.CHANGE_FEED:
        yield "filter", "is not for the mode CHANGE_FEED, whose feed has all rows; take INCREMENTAL or CHANGED"
    if mode is SyncMode.INCREMENTAL and spec.cursor is None:
        yield "cursor", "is required for the mode INCREMENTAL: the column that grows with every change of a row"
    elif mode is not SyncMode.INCREMENTAL and spec.cursor is not None:
        yield "cursor", f"is for the mode INCREMENTAL, not for {mode}; leave it out, or take that mode"
    if spec.cursor is not None:
        yield from _cursor(spec.cursor)


def _cursor(cursor: Cursor) -> Wrong:
    if not cursor.column.strip():
        yield "cursor.column", "is required"
    yield from check_column("cursor.column", cursor.column)
    yield from check_span("cursor.lag", cursor.lag_s)
    yield from check_span("cursor.full_every", cursor.full_every_s, MIN_FULL_EVERY_S)


def _deleting(spec: SyncSpec) -> Wrong:
    guards = spec.guards
    if spec.deletes is Deletes.DELETE and spec.mode is SyncMode.FULL:
        yield "deletes", "DELETE is not for the mode FULL, which compares with nothing; take CHANGED"
    yield from _guards(guards)
    if len(spec.scope) > MAX_SCOPE_CHARACTERS or _CONTROL.search(spec.scope):
        yield "scope", f"has more than {MAX_SCOPE_CHARACTERS} or control characters"


def _guards(guards: Guards) -> Wrong:
    share = guards.max_delete_share
    if not (math.isfinite(share) and 0 < share <= 1):
        yield "guards.max_delete_share", f"{share:g} is not a share above 0 and up to 1"
    if guards.max_deletes is not None and guards.max_deletes < 0:
        yield "guards.max_deletes", f"{guards.max_deletes} is below 0"
    yield from check_range("guards.confirm_runs", guards.confirm_runs, 1, MAX_CONFIRM_RUNS)
    yield from check_span("guards.grace", guards.grace_s)


def _running(spec: SyncSpec) -> Wrong:
    limits = spec.limits
    rate = limits.items_per_second or None
    yield from check_range("batch_size", spec.batch_size, 1, MAX_BATCH_SIZE)
    yield from check_range("workers", spec.workers, 0, MAX_WORKERS)
    yield from check_limits(rate, limits.max_errors, limits.max_error_share, prefix="limits.")
    yield from _retry(spec.retry)
    if spec.schedule is not None:
        for field, description in check_schedule(spec.schedule):
            yield f"schedule.{field}", description
    yield from check_span("max_age", spec.max_age_s)
    yield from check_range("pause_after_failures", spec.pause_after_failures, 0, MAX_PAUSE_AFTER_FAILURES)
    if len(spec.notifications) > MAX_NOTIFICATIONS:
        yield "notifications", f"has {len(spec.notifications)} entries; at most {MAX_NOTIFICATIONS} are allowed"
    for place, name in enumerate(spec.notifications[:MAX_NOTIFICATIONS]):
        yield from check_name(f"notifications[{place}]", name)
        if name in spec.notifications[:place]:
            yield f"notifications[{place}]", f"{name!r} stands there twice"


def _retry(retry: SyncRetry) -> Wrong:
    yield from check_range("retry.attempts", retry.attempts, 0, MAX_RETRIES)
    if retry.base_s is not None and not 0 < retry.base_s <= MAX_RETRY_BASE_S:
        yield "retry.base", f"{retry.base_s:g} s is not above 0 and up to {MAX_RETRY_BASE_S:g} s"
