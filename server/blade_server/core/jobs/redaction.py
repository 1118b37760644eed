"""Jobs for those who may see them and not read rows: without SQL, and without words that may quote a row's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from blade_server.core.access.view import view_of
from blade_server.model import ErrorSummary, EventKind, ItemError, Job, JobEvent
from blade_server.model.access import Caller, Role
from blade_server.model.sync_report import SyncReport

_ENDS = frozenset((EventKind.FAILED, EventKind.COMPLETED))


def may_read(job: Job, by: Caller, order: Sequence[str]) -> bool:
    """Whether the caller may read the rows of a job, and with them all that is said of it.

    What was there for its starter must be there for him. `order`: the known classifications, lowest first.
    """
    spec = job.spec
    if not by.may(spec.source, spec.data_type, Role.READER):
        return False
    view = view_of(job.source, by, order, Role.READER)
    if view.is_whole:
        return True
    if view.ceiling and spec.ceiling not in view.classifications:
        return False
    if view.ceiling and spec.reads_beyond and job.starter != by.principal.name:
        return False
    return {column.casefold() for column in view.masked} <= {one.casefold() for one in spec.masked_columns}


def for_caller(job: Job, by: Caller, order: Sequence[str]) -> Job:
    """The job as the caller may see it."""
    return job if may_read(job, by, order) else redacted(job)


def redacted(job: Job) -> Job:
    """Its state, counts and reasons stay; what the warehouse or the catalog said of it goes, as it may quote a row."""
    return replace(
        job,
        spec=replace(job.spec, sql=""),
        wait_detail="",
        error_message="",
        error_summaries=[_summary(summary) for summary in job.error_summaries],
        history=[_event(event) for event in job.history],
        report=job.report and redacted_report(job.report),
        redacted=True,
    )


def redacted_report(report: SyncReport) -> SyncReport:
    """Its numbers and reasons stay; what has a value of the cursor column in it goes."""
    return replace(report, watermark="", warnings=())


def redacted_error(error: ItemError) -> ItemError:
    """Where it failed and why, for machines; not which row it was."""
    return replace(error, item_id="", message="", row_json="", redacted=True)


def _summary(summary: ErrorSummary) -> ErrorSummary:
    return replace(summary, samples=[redacted_error(error) for error in summary.samples])


def _event(event: JobEvent) -> JobEvent:
    return replace(event, detail="") if event.kind in _ENDS else event
