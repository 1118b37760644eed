"""Protobuf to model and back, field by field. Nothing is decided here, and only what has no counterpart is refused.

The enums of the contract and of the model have the same names, so they map by name (a unit test holds them equal).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1 import error_reason_pb2, ingest_service_pb2, item_pb2, job_pb2, source_pb2
from blade_server import model
from blade_server.errors import Invalid, Reason

E = TypeVar("E", bound=StrEnum)

MAX_INT32 = 2**31 - 1
_MAX_EXACT_INT = 2**53  # beyond it JSON readers, and Struct itself, round


def _by_name(members: type[E], enum: Any, prefix: str = "") -> Mapping[E, Any]:
    return {member: enum.Value(prefix + member.name) for member in members}


REASONS = _by_name(Reason, error_reason_pb2.ErrorReason, "ERROR_REASON_")
STEP_KINDS = _by_name(model.StepKind, source_pb2.TestStep.Kind)
STEP_OUTCOMES = _by_name(model.StepOutcome, source_pb2.TestStep.Outcome)
STAGES = _by_name(model.Stage, job_pb2.ItemError.Stage)
STATUSES = _by_name(model.Status, job_pb2.Job.Status)
ACTIONS = _by_name(model.Action, job_pb2.Job.Action)
WAIT_REASONS = _by_name(model.WaitReason, job_pb2.Job.WaitReason)
EVENT_KINDS = _by_name(model.EventKind, job_pb2.JobEvent.Kind)
_STATUS_OF = {number: status for status, number in STATUSES.items()}


# -------------------------------------------------------------------------------------------------- requests


def optional(message: Message, field: str) -> Any:
    """The value of a field that knows whether it is set, or None."""
    return getattr(message, field) if message.HasField(field) else None


def statuses(numbers: Iterable[int]) -> list[model.Status]:
    """Raises Invalid for a number that names no status."""
    try:
        return [_STATUS_OF[number] for number in numbers]
    except KeyError as exc:
        allowed = ", ".join(status.name for status in model.Status)
        raise Invalid.field("statuses", f"{exc.args[0]} is not a status; there are {allowed}") from exc


def instant(message: Message, field: str) -> datetime | None:
    """A Timestamp field, or None if it is unset. Raises Invalid beyond the years 1 to 9999."""
    timestamp: Timestamp | None = optional(message, field)
    try:
        return timestamp.ToDatetime(tzinfo=UTC) if timestamp is not None else None
    except (ValueError, OverflowError) as exc:
        raise Invalid.field(field, "is not a time of the years 1 to 9999") from exc


def seconds(message: Message, field: str) -> float | None:
    """A Duration field in seconds, or None if it is unset."""
    duration: Duration | None = optional(message, field)
    return duration.seconds + duration.nanos / 1e9 if duration is not None else None


def set_fields(source: source_pb2.Source) -> set[str]:
    """The paths of all fields that are set in an update and can be updated: what an absent mask stands for."""
    paths = set()
    for field, value in source.ListFields():
        if field.name in ("config", "mapping"):
            paths |= {f"{field.name}.{inner.name}" for inner, _ in value.ListFields()}
        elif field.name in ("display_name", "data_type", "enabled"):
            paths.add(field.name)
    return paths


# --------------------------------------------------------------------------------------------------- sources


def source_from(source: source_pb2.Source) -> model.Source:
    """What the caller sent; the output-only fields are left behind."""
    config, mapping = source.config, source.mapping
    return model.Source(
        name=source.name,
        display_name=source.display_name,
        data_type=source.data_type,
        enabled=source.enabled if source.HasField("enabled") else True,
        config=model.SourceConfig(
            catalog=config.catalog,
            schema=config.schema,
            table=config.table,
            warehouse_id=config.warehouse_id,
            host=config.host,
            credentials=config.credentials,
            items_per_second=config.items_per_second,
            max_running_jobs=config.max_running_jobs,
        ),
        mapping=model.RowMapping(
            item_id=mapping.item_id,
            last_modified=mapping.last_modified,
            classification=model.Classification(
                column=mapping.classification.column, value=mapping.classification.value
            ),
            metadata=dict(mapping.metadata),
        ),
        etag=source.etag,
    )


def source(source: model.Source) -> source_pb2.Source:
    """A source as stored."""
    config, mapping, stats = source.config, source.mapping, source.stats
    return source_pb2.Source(
        name=source.name,
        display_name=source.display_name,
        data_type=source.data_type,
        enabled=source.enabled,
        config=source_pb2.SourceConfig(
            catalog=config.catalog,
            schema=config.schema,
            table=config.table,
            warehouse_id=config.warehouse_id,
            host=config.host,
            credentials=config.credentials,
            items_per_second=config.items_per_second,
            max_running_jobs=config.max_running_jobs,
        ),
        mapping=source_pb2.Mapping(
            item_id=mapping.item_id,
            last_modified=mapping.last_modified,
            classification=_classification(mapping.classification),
            metadata=mapping.metadata,
        ),
        stats=source_pb2.SourceStats(
            # Counts every upload ever made, so it can outgrow the contract's int32; it then stays at the top.
            item_count=min(stats.item_count, MAX_INT32),
            last_job_id=stats.last_job_id,
            last_success_time=stats.last_success_time,
        ),
        create_time=source.create_time,
        update_time=source.update_time,
        etag=source.etag,
    )


def _classification(classification: model.Classification) -> source_pb2.Classification:
    if classification.column:
        return source_pb2.Classification(column=classification.column)
    return source_pb2.Classification(value=classification.value)


def test_step(step: model.TestStep) -> source_pb2.TestStep:
    """One step of a connection test."""
    return source_pb2.TestStep(
        kind=STEP_KINDS[step.kind],
        outcome=STEP_OUTCOMES[step.outcome],
        message=step.message,
        duration_ms=step.duration_ms,
    )


# ----------------------------------------------------------------------------------------------------- items


def item(item: model.Item) -> item_pb2.Item:
    """An item; integers beyond 2^53 become strings, because a Struct holds doubles."""
    answer = item_pb2.Item(
        item_id=item.item_id,
        data_type=item.data_type,
        data=_struct(item.data_json),
        classification=item.classification,
        metadata=item.metadata,
    )
    if item.last_modified is not None:
        answer.last_modified.FromJsonString(item.last_modified)
    return answer


def _struct(data_json: bytes) -> Struct:
    # The json of the standard library, because orjson rounds integers beyond 64 bits.
    struct = Struct()
    struct.update(json.loads(data_json, parse_int=_exact_int))
    return struct


def _exact_int(digits: str) -> int | str:
    value = int(digits)
    return value if abs(value) <= _MAX_EXACT_INT else digits


def rejection(error: model.ItemError) -> item_pb2.ItemRejection:
    """A row that could not become an item."""
    return item_pb2.ItemRejection(
        item_id=error.item_id,
        reason=REASONS[error.reason],
        field=error.field,
        message=error.message,
        row_json=error.row_json,
    )


def ingest_outcome(outcome: StrEnum) -> Any:
    """The outcome of an ingestion, by its name."""
    return ingest_service_pb2.IngestItemResponse.Outcome.Value(outcome.name)


# ------------------------------------------------------------------------------------------------------ jobs


def limits_from(limits: job_pb2.JobLimits) -> model.JobLimits:
    """New limits of a job."""
    return model.JobLimits(
        items_per_second=limits.items_per_second,
        max_errors=optional(limits, "max_errors"),
        max_error_share=optional(limits, "max_error_share"),
    )


def job(job: model.Job) -> job_pb2.Job:
    """A job with all that was read of it."""
    return job_pb2.Job(
        job_id=job.job_id,
        status=STATUSES[job.status],
        total_items=job.total_items,
        processed_items=job.processed_items,
        success_count=job.success_count,
        error_count=job.error_count,
        skipped_count=job.skipped_count,
        items_per_second=job.items_per_second,
        bytes_uploaded=job.bytes_uploaded,
        current_operation=job.current_operation,
        estimated_completion=job.estimated_completion,
        wait_reason=WAIT_REASONS[job.wait_reason] if job.wait_reason else None,
        wait_detail=job.wait_detail,
        pending_action=ACTIONS[job.pending_action] if job.pending_action else None,
        error=job_pb2.JobError(reason=REASONS[job.error_reason], message=job.error_message)
        if job.error_reason
        else None,
        spec=_spec(job.spec),
        create_time=job.create_time,
        start_time=job.start_time,
        end_time=job.end_time,
        update_time=job.update_time,
        revision=job.revision,
        paused_duration=_duration(job.paused_s),
        parent_job_id=job.parent_job_id,
        error_summaries=[_summary(summary) for summary in job.error_summaries],
        history=[_event(event) for event in job.history],
    )


def _spec(spec: model.JobSpec) -> job_pb2.JobSpec:
    return job_pb2.JobSpec(
        sql=spec.sql,
        source=spec.source,
        data_type=spec.data_type,
        batch_size=spec.batch_size,
        workers=spec.workers,
        limits=job_pb2.JobLimits(
            items_per_second=spec.limits.items_per_second,
            max_errors=spec.limits.max_errors,
            max_error_share=spec.limits.max_error_share,
        ),
        metadata=spec.metadata,
        classification=spec.classification,
        skip_existing=spec.skip_existing,
    )


def _duration(span_s: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(span_s * 1e6))
    return duration


def _summary(summary: model.ErrorSummary) -> job_pb2.ErrorSummary:
    return job_pb2.ErrorSummary(
        reason=REASONS[summary.reason],
        count=summary.count,
        samples=[item_error(error) for error in summary.samples],
    )


def item_error(error: model.ItemError) -> job_pb2.ItemError:
    """A row of a job that did not reach the catalog."""
    return job_pb2.ItemError(
        item_id=error.item_id,
        stage=STAGES[error.stage],
        reason=REASONS[error.reason],
        field=error.field,
        message=error.message,
        attempts=error.attempts,
        row_json=error.row_json,
        create_time=error.create_time,
    )


def _event(event: model.JobEvent) -> job_pb2.JobEvent:
    return job_pb2.JobEvent(
        kind=EVENT_KINDS[event.kind],
        time=event.time,
        actor=event.actor,
        reason=event.reason,
        detail=event.detail,
    )
