"""Jobs, their limits, their item errors, and the statuses that a list is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.duration_pb2 import Duration

from blade.v1 import job_pb2
from blade.v1.job_service_pb2 import StartQueryJobRequest
from blade_server import model
from blade_server.errors import Invalid
from blade_server.rpc.convert.cost import cost_message
from blade_server.rpc.convert.fields import REASONS, numbers_of, optional
from blade_server.rpc.convert.sync_report import report_message

STAGES = numbers_of(model.Stage, job_pb2.ItemError.Stage)
STATUSES = numbers_of(model.Status, job_pb2.Job.Status)
KINDS = numbers_of(model.JobKind, job_pb2.Job.Kind)
ACTIONS = numbers_of(model.Action, job_pb2.Job.Action)
WAIT_REASONS = numbers_of(model.WaitReason, job_pb2.Job.WaitReason)
EVENT_KINDS = numbers_of(model.EventKind, job_pb2.JobEvent.Kind)
_STATUS_OF = {number: status for status, number in STATUSES.items()}
_KIND_OF = {number: kind for kind, number in KINDS.items()}


def statuses_from(numbers: Iterable[int]) -> list[model.Status]:
    """Raises Invalid for a number that names no status."""
    try:
        return [_STATUS_OF[number] for number in numbers]
    except KeyError as exc:
        allowed = ", ".join(status.name for status in model.Status)
        raise Invalid.field("statuses", f"{exc.args[0]} is not a status; there are {allowed}") from exc


def kinds_from(numbers: Iterable[int]) -> list[model.JobKind]:
    """Raises Invalid for a number that names no kind."""
    try:
        return [_KIND_OF[number] for number in numbers]
    except KeyError as exc:
        allowed = ", ".join(kind.name for kind in model.JobKind)
        raise Invalid.field("kinds", f"{exc.args[0]} is not a kind of jobs; there are {allowed}") from exc


def limits_from(limits: job_pb2.JobLimits) -> model.JobLimits:
    """New limits of a job."""
    return model.JobLimits(
        items_per_second=limits.items_per_second,
        max_errors=optional(limits, "max_errors"),
        max_error_share=optional(limits, "max_error_share"),
    )


def overrides_from(request: Any) -> model.Overrides:
    """What a request says of the rows of its query in place of the mapping."""
    return model.Overrides(
        item_id=request.item_id,
        last_modified=optional(request, "last_modified"),
        classification=request.classification,
    )


def start_limits_from(request: StartQueryJobRequest) -> dict[str, Any]:
    """The limits of a new job, given one by one or as JobLimits; None: no limit. Raises Invalid if the two differ."""
    shown = {
        "items_per_second": request.limits.items_per_second or None,
        "max_errors": optional(request.limits, "max_errors"),
        "max_error_share": optional(request.limits, "max_error_share"),
    }
    for name, value in shown.items():
        alone = optional(request, name)
        if None not in (alone, value) and alone != value:
            raise Invalid.field(f"limits.{name}", f"is {value:g}, and `{name}` is {alone:g}; send one of them")
        shown[name] = value if alone is None else alone
    return shown


def job_message(job: model.Job) -> job_pb2.Job:
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
        completed_with_errors=job.completed_with_errors,
        redacted=job.redacted,
        kind=KINDS[job.kind],
        sync=job.sync,
        sync_report=report_message(job.report) if job.report else None,
        cost=cost_message(job.cost),
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
        min_classification=spec.min_classification,
        skip_existing=spec.skip_existing,
        item_id=spec.item_id,
        last_modified=spec.last_modified,
        destination=spec.destination,
    )


def _duration(span_s: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(round(span_s * 1e6))
    return duration


def _summary(summary: model.ErrorSummary) -> job_pb2.ErrorSummary:
    return job_pb2.ErrorSummary(
        reason=REASONS[summary.reason],
        count=summary.count,
        identical_count=summary.identical,
        samples=[item_error_message(error) for error in summary.samples],
    )


def item_error_message(error: model.ItemError) -> job_pb2.ItemError:
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
        identical=error.identical,
        redacted=error.redacted,
    )


def _event(event: model.JobEvent) -> job_pb2.JobEvent:
    return job_pb2.JobEvent(
        kind=EVENT_KINDS[event.kind],
        time=event.time,
        actor=event.actor,
        reason=event.reason,
        detail=event.detail,
    )
