"""Syncs, what is asked of them and what they know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration

from blade.v1 import sync_pb2
from blade_server import model
from blade_server.errors import Invalid
from blade_server.model import sync as m
from blade_server.model.sync_report import SyncMode
from blade_server.rpc.convert.fields import numbers_of, optional, seconds
from blade_server.rpc.convert.job import KINDS, STATUSES, limits_from
from blade_server.rpc.convert.sync_report import MODES, counts_message, report_message

DELETES = numbers_of(m.Deletes, sync_pb2.SyncSpec.Deletes)
OVERLAPS = numbers_of(m.Overlap, sync_pb2.SyncSpec.Overlap)
CATCH_UPS = numbers_of(m.CatchUp, sync_pb2.SyncSpec.CatchUp)
NULL_CURSORS = numbers_of(m.NullCursor, sync_pb2.SyncSpec.NullCursor)
CHANGE_KINDS = numbers_of(m.ChangeKind, sync_pb2.ItemChange.Kind)
ITEM_STATES = numbers_of(m.ItemState, sync_pb2.SyncItem.State)
OUTCOMES = numbers_of(m.FireOutcome, sync_pb2.SyncFire.Outcome)

E = TypeVar("E")


def spec_from(spec: sync_pb2.SyncSpec) -> m.SyncSpec:
    """What is asked for, defaults filled in. Raises Invalid for a number that names no choice."""
    return m.SyncSpec(
        source=spec.source,
        sql=spec.sql,
        filter=spec.filter,
        destination=spec.destination or m.DEFAULT_DESTINATION,
        mode=_choice(MODES, spec.mode, SyncMode.CHANGED, "mode"),
        cursor=_cursor_from(spec.cursor) if spec.HasField("cursor") else None,
        schedule=_schedule_from(spec.schedule) if spec.HasField("schedule") else None,
        deletes=_choice(DELETES, spec.deletes, m.Deletes.KEEP, "deletes"),
        guards=_guards_from(spec.guards),
        adopt=spec.adopt,
        scope=spec.scope,
        batch_size=_or(optional(spec, "batch_size"), m.SyncSpec.batch_size),
        workers=_or(optional(spec, "workers"), 0),
        limits=limits_from(spec.limits),
        metadata=dict(spec.metadata),
        classification=spec.classification,
        item_id=spec.item_id,
        last_modified=optional(spec, "last_modified"),
        retry=m.SyncRetry(attempts=optional(spec.retry, "attempts"), base_s=seconds(spec.retry, "base")),
        max_age_s=_or(seconds(spec, "max_age"), 0.0),
        pause_after_failures=spec.pause_after_failures,
        notifications=tuple(spec.notifications),
    )


def _cursor_from(cursor: sync_pb2.SyncSpec.Cursor) -> m.Cursor:
    return m.Cursor(
        column=cursor.column,
        lag_s=_or(seconds(cursor, "lag"), 0.0),
        full_every_s=_or(seconds(cursor, "full_every"), m.Cursor.full_every_s),
        null_cursor=_choice(NULL_CURSORS, cursor.null_cursor, m.NullCursor.READ, "cursor.null_cursor"),
    )


def _schedule_from(schedule: sync_pb2.SyncSpec.Schedule) -> m.Schedule:
    return m.Schedule(
        cron=schedule.cron,
        time_zone=schedule.time_zone or m.Schedule.time_zone,
        every_s=_or(seconds(schedule, "every"), 0.0),
        jitter_s=_or(seconds(schedule, "jitter"), 0.0),
        overlap=_choice(OVERLAPS, schedule.overlap, m.Overlap.SKIP, "schedule.overlap"),
        catch_up=_choice(CATCH_UPS, schedule.catch_up, m.CatchUp.NONE, "schedule.catch_up"),
        catch_up_window_s=_or(seconds(schedule, "catch_up_window"), m.Schedule.catch_up_window_s),
    )


def _guards_from(guards: sync_pb2.SyncSpec.Guards) -> m.Guards:
    return m.Guards(
        max_delete_share=_or(optional(guards, "max_delete_share"), m.Guards.max_delete_share),
        max_deletes=optional(guards, "max_deletes"),
        confirm_runs=_or(optional(guards, "confirm_runs"), m.Guards.confirm_runs),
        grace_s=_or(seconds(guards, "grace"), 0.0),
    )


def spec_message(spec: m.SyncSpec) -> sync_pb2.SyncSpec:
    """What is asked for, defaults and all; `spec_from` gives the same again."""
    return sync_pb2.SyncSpec(
        source=spec.source,
        sql=spec.sql,
        filter=spec.filter,
        destination=spec.destination,
        mode=MODES[spec.mode],
        cursor=_cursor_message(spec.cursor) if spec.cursor else None,
        schedule=_schedule_message(spec.schedule) if spec.schedule else None,
        deletes=DELETES[spec.deletes],
        guards=sync_pb2.SyncSpec.Guards(
            max_delete_share=spec.guards.max_delete_share,
            max_deletes=spec.guards.max_deletes,
            confirm_runs=spec.guards.confirm_runs,
            grace=_span(spec.guards.grace_s),
        ),
        adopt=spec.adopt,
        scope=spec.scope,
        batch_size=spec.batch_size,
        workers=spec.workers or None,
        limits=_limits_message(spec.limits),
        metadata=spec.metadata,
        classification=spec.classification,
        item_id=spec.item_id,
        last_modified=spec.last_modified,
        retry=_retry_message(spec.retry),
        max_age=_span(spec.max_age_s),
        pause_after_failures=spec.pause_after_failures,
        notifications=spec.notifications,
    )


def _cursor_message(cursor: m.Cursor) -> sync_pb2.SyncSpec.Cursor:
    return sync_pb2.SyncSpec.Cursor(
        column=cursor.column,
        lag=_span(cursor.lag_s),
        full_every=_span(cursor.full_every_s),
        null_cursor=NULL_CURSORS[cursor.null_cursor],
    )


def _schedule_message(schedule: m.Schedule) -> sync_pb2.SyncSpec.Schedule:
    return sync_pb2.SyncSpec.Schedule(
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        every=_span(schedule.every_s),
        jitter=_span(schedule.jitter_s),
        overlap=OVERLAPS[schedule.overlap],
        catch_up=CATCH_UPS[schedule.catch_up],
        catch_up_window=_span(schedule.catch_up_window_s, zero=True),
    )


def _limits_message(limits: model.JobLimits) -> Any:
    given = sync_pb2.SyncSpec().limits
    given.items_per_second = limits.items_per_second
    for name in ("max_errors", "max_error_share"):
        value = getattr(limits, name)
        if value is not None:
            setattr(given, name, value)
    return given if given.ByteSize() else None


def _retry_message(retry: m.SyncRetry) -> sync_pb2.SyncSpec.Retry | None:
    if retry == m.SyncRetry():
        return None
    return sync_pb2.SyncSpec.Retry(
        attempts=retry.attempts, base=None if retry.base_s is None else _span(retry.base_s, zero=True)
    )


def sync_message(sync: m.Sync) -> sync_pb2.Sync:
    """A sync with all that was read of it."""
    state = sync.state
    return sync_pb2.Sync(
        name=sync.name,
        etag=sync.etag,
        spec=spec_message(sync.spec),
        paused=sync.paused,
        pause_reason=sync.pause_reason,
        owner=sync.owner.name,
        next_run_time=sync.next_run_time,
        last_success_time=sync.last_success_time,
        lag=None if sync.lag_s is None else _span(sync.lag_s, zero=True),
        late=sync.late,
        running_job_id=sync.running_job_id,
        last_run=run_message(sync.last_run) if sync.last_run else None,
        failures_in_a_row=sync.failures_in_a_row,
        known_items=state.known_items,
        dirty_items=state.dirty_items,
        watermark=state.watermark,
        feed_version=state.feed_version,
        totals=counts_message(sync.totals),
        create_time=sync.create_time,
        update_time=sync.update_time,
        redacted=sync.redacted,
    )


def run_message(run: m.SyncRun) -> sync_pb2.SyncRun:
    """One run in short."""
    return sync_pb2.SyncRun(
        number=run.number,
        job_id=run.job_id,
        kind=KINDS[run.kind],
        status=STATUSES[run.status],
        start_time=run.start_time,
        end_time=run.end_time,
        report=report_message(run.report) if run.report else None,
    )


def change_message(change: m.ItemChange) -> sync_pb2.ItemChange:
    """A sample of a plan, a verification or a list of withheld deletes."""
    return sync_pb2.ItemChange(
        kind=CHANGE_KINDS[change.kind],
        item_id=change.item_id,
        fields=[
            sync_pb2.FieldChange(field=field.field, before=field.before, after=field.after) for field in change.fields
        ],
        detail=change.detail,
    )


def fire_message(fire: m.SyncFire) -> sync_pb2.SyncFire:
    """What became of one due time."""
    return sync_pb2.SyncFire(
        due_time=fire.due_time,
        outcome=OUTCOMES[fire.outcome],
        job_id=fire.job_id,
        detail=fire.detail,
        time=fire.time,
    )


def item_message(item: m.SyncItem) -> sync_pb2.SyncItem:
    """What a sync knows of one item."""
    return sync_pb2.SyncItem(
        item_id=item.item_id,
        state=ITEM_STATES[item.state],
        run_number=item.run_number,
        job_id=item.job_id,
        sent_time=item.sent_time,
        missing_since=item.missing_since,
    )


def _choice(numbers: Mapping[E, int], number: int, default: E, field: str) -> E:
    if not number:
        return default
    for choice, known in numbers.items():
        if known == number:
            return choice
    raise Invalid.field(f"sync.spec.{field}", f"{number} is none of {', '.join(str(each) for each in numbers)}")


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _span(span_s: float, *, zero: bool = False) -> Duration | None:
    """A duration; unset for 0, which is what an unset one stands for, unless it is not."""
    if not span_s and not zero:
        return None
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=span_s))
    return duration
