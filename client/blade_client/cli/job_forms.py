"""Jobs in words: lists, details, errors."""

from __future__ import annotations

from collections.abc import Sequence

import click

from blade.v1.cost_pb2 import Cost
from blade.v1.error_reason_pb2 import ErrorReason
from blade.v1.job_pb2 import ErrorSummary, ItemError, Job, JobEvent, JobLimits, JobSpec
from blade_client.cli.output import AMBER, Styled, moment, pairs_text, print_pairs, print_table, words

_STYLES = {
    Job.RUNNING: "cyan",
    Job.PAUSED: "yellow",
    Job.COMPLETED: "green",
    Job.FAILED: "red",
    Job.CANCELLED: "red",
}
_MOST_HISTORY = 100  # see Job.history


def status_text(job: Job) -> str:
    """The status, with what was asked for and is not done yet (`RUNNING, about to pause`) and a flaw of its end."""
    if job.completed_with_errors:
        return "Completed with errors"
    text = Job.Status.Name(job.status)
    asked = {Job.PAUSE: ", about to pause", Job.CANCEL: ", about to be cancelled"}
    return text if job.status == Job.PAUSED else text + asked.get(job.pending_action, "")


def styled_status(job: Job) -> Styled:
    """`status_text` in the colour of the status."""
    return Styled(status_text(job), AMBER if job.completed_with_errors else _STYLES.get(job.status, "cyan"))


def count_text(job: Job) -> str:
    """`3,200 / 336,776`, or just `3,200` while the total is unknown."""
    total = f" / {job.total_items:,}" if job.HasField("total_items") else ""
    return f"{job.processed_items:,}{total}"


def errors_text(job: Job) -> str:
    """`1 error`, `7 errors`."""
    return f"{job.error_count:,} error{'' if job.error_count == 1 else 's'}"


def activity_text(job: Job) -> str:
    """What the job is doing or waiting for."""
    if job.status == Job.FAILED:
        return job.error.message
    if not job.wait_reason:
        return job.current_operation
    waiting = f"waiting: {words(Job.WaitReason.Name(job.wait_reason))}"
    return f"{waiting} ({job.wait_detail})" if job.wait_detail else waiting


def reason_name(reason: int) -> str:
    """The reason without its prefix; a number if this client is older than the server."""
    if reason not in ErrorReason.values():
        return str(reason)
    return ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


def limits_text(limits: JobLimits) -> str:
    """The limits that are set, in words."""
    parts = []
    if limits.items_per_second:
        parts.append(f"at most {limits.items_per_second:g} items/s")
    if limits.HasField("max_errors"):
        parts.append(f"fails beyond {limits.max_errors:,} errors")
    if limits.HasField("max_error_share"):
        parts.append(f"fails beyond {limits.max_error_share:.3g} of the items")
    return ", ".join(parts) or "no limits"


def duration_text(seconds: float) -> str:
    """`4.2 s`, `3 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def cost_text(cost: Cost) -> str:
    """`4.2 s in 3 statements, 1,000 rows and 52,113 bytes read`; empty if nothing was asked of the warehouse."""
    if not cost.statements:
        return ""
    statements = "1 statement" if cost.statements == 1 else f"{cost.statements:,} statements"
    read = f"{cost.rows_read:,} rows and {cost.bytes_read:,} bytes read"
    return f"{duration_text(cost.warehouse_ms / 1000)} in {statements}, {read}"


def took_text(job: Job) -> str:
    """How long the job ran, pauses included; empty unless it began and ended."""
    if not job.HasField("start_time") or not job.HasField("end_time"):
        return ""
    return duration_text((job.end_time.ToDatetime() - job.start_time.ToDatetime()).total_seconds())


def show_list(jobs: Sequence[Job]) -> None:
    """Prints jobs as a table."""
    if not jobs:
        click.echo("There are no such jobs. Start one with `blade job start`.", err=True)
        return
    print_table(
        ["JOB", "STATUS", "SOURCE", "ITEMS", "ERRORS", "CREATED (UTC)", "NOW"],
        [
            [
                each.job_id,
                styled_status(each),
                each.spec.source,
                count_text(each),
                f"{each.error_count:,}",
                moment(each.create_time),
                activity_text(each),
            ]
            for each in jobs
        ],
        right=["ITEMS", "ERRORS"],
    )


def show_job(job: Job) -> None:
    """Prints one job in full."""
    spec = job.spec
    paused_s = job.paused_duration.ToTimedelta().total_seconds()
    print_pairs(
        [
            ("Job", job.job_id),
            ("Sync", f"{job.sync} ({Job.Kind.Name(job.kind)})" if job.sync else ""),
            ("Status", styled_status(job)),
            ("Error", f"{reason_name(job.error.reason)}: {job.error.message}" if job.HasField("error") else ""),
            ("Now", "" if job.status == Job.FAILED else activity_text(job)),
            ("Items", count_text(job)),
            (
                "Of these",
                f"{job.success_count:,} in the catalog, {errors_text(job)}, {job.skipped_count:,} skipped",
            ),
            ("Rate", f"{job.items_per_second:,.0f} items/s" if job.items_per_second else ""),
            ("Uploaded", f"{job.bytes_uploaded:,} bytes"),
            ("Warehouse", cost_text(job.cost)),
            ("Ends about", moment(job.estimated_completion)),
            ("Source", f"{spec.source} ({spec.data_type})"),
            ("Destination", spec.destination if spec.destination != "default" else ""),
            ("SQL", spec.sql),
            ("Batches", f"{spec.batch_size} items, {spec.workers} workers"),
            ("Limits", limits_text(spec.limits)),
            ("Metadata", pairs_text(dict(spec.metadata))),
            ("Item id", spec.item_id),
            ("Last modified", _last_modified(spec)),
            (
                "Classification",
                spec.classification or (f"at least {least}" if (least := spec.min_classification) else ""),
            ),
            ("Existing items", "are skipped" if spec.skip_existing else ""),
            ("Retries", job.parent_job_id),
            ("Created", moment(job.create_time)),
            ("Started", moment(job.start_time)),
            ("Ended", moment(job.end_time)),
            ("Took", took_text(job)),
            ("Paused for", duration_text(paused_s) if paused_s else ""),
        ]
    )
    if job.error_summaries:
        click.echo("\nErrors by reason")
        print_table(
            ["REASON", "ITEMS", "FOR EXAMPLE"],
            [[reason_name(each.reason), f"{each.count:,}", _example(each)] for each in job.error_summaries],
            right=["ITEMS"],
        )
    if job.history:
        click.echo("\nHistory" if len(job.history) < _MOST_HISTORY else f"\nHistory, its last {_MOST_HISTORY} entries")
        print_table(
            ["TIME (UTC)", "WHAT", "WHO", "WHY"],
            [
                [
                    moment(each.time),
                    words(JobEvent.Kind.Name(each.kind)),
                    each.actor,
                    "; ".join(part for part in (each.reason, each.detail) if part),
                ]
                for each in job.history
            ],
        )


def _example(summary: ErrorSummary) -> str:
    same = f"{summary.identical_count:,} equal the row that stays; " if summary.identical_count else ""
    return same + (summary.samples[0].message if summary.samples else "")


def _last_modified(spec: JobSpec) -> str:
    if not spec.HasField("last_modified"):
        return ""
    return f"column {spec.last_modified}" if spec.last_modified else "none"


def show_errors(errors: Sequence[ItemError]) -> None:
    """Prints item errors as a table."""
    if not errors:
        click.echo("No item of this job failed.", err=True)
        return
    print_table(
        ["ITEM ID", "STAGE", "REASON", "FIELD", "TRIES", "MESSAGE"],
        [
            [
                each.item_id or "-",
                words(ItemError.Stage.Name(each.stage)),
                reason_name(each.reason),
                each.field,
                str(each.attempts),
                each.message,
            ]
            for each in errors
        ],
        right=["TRIES"],
    )
