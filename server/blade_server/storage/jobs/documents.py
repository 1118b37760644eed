"""Jobs as JSON documents that PostgreSQL puts together: all that is shown of a job in one statement and one snapshot.

For a read of many narrow columns the driver's work is as much as PostgreSQL's; one column of text takes a third of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

from blade_server.errors import Reason
from blade_server.model import ErrorSummary, EventKind, ItemError, Job, JobEvent, Stage
from blade_server.storage.jobs.rows import shown_job

SAMPLES = 5
HISTORY = 100

_SHOWN = """
SELECT row_to_json(shown)::text FROM (
    SELECT job_id, status, spec, source_json, total_items, success_count, error_count, skipped_count, items_per_second,
        bytes_uploaded, current_operation, estimated_completion, wait_reason, wait_detail, pending_action, error_reason,
        error_message, create_time, start_time, end_time, update_time, revision, paused_s, parent_job_id, starter, kind,
        sync, report, statements, warehouse_ms, rows_read, bytes_read, owner, lease_until < now() AS lease_is_over,
        CASE WHEN error_count > 0 THEN (
            SELECT json_agg(sample ORDER BY total DESC, reason, seq) FROM (
                SELECT counted.items AS total, counted.identical AS total_identical, sample.*
                FROM job_error_count AS counted CROSS JOIN LATERAL (
                    SELECT seq, item_id, stage, reason, field, message, attempts, row_json, create_time, identical
                    FROM job_item_error AS error
                    WHERE error.job_id = counted.job_id AND error.reason = counted.reason
                    ORDER BY seq LIMIT {samples}) AS sample
                WHERE counted.job_id = job.job_id) AS sample) END AS samples,
        CASE WHEN {history} THEN (
            SELECT json_agg(entry ORDER BY seq) FROM (
                SELECT seq, kind, time, actor, reason, detail FROM job_event
                WHERE job_event.job_id = job.job_id ORDER BY seq DESC LIMIT {events}) AS entry) END AS history
    FROM job WHERE job_id = ANY({job_ids})) AS shown
"""
_TIMES = ("estimated_completion", "create_time", "start_time", "end_time", "update_time")


def shown(*, job_ids: str, history: str) -> str:
    """The statement that gives the documents of jobs; both parameters are how the driver marks their values."""
    return _SHOWN.format(job_ids=job_ids, history=history, samples=SAMPLES, events=HISTORY)


def job_from_document(document: str) -> Job:
    """The job that a document of `shown` describes."""
    values = orjson.loads(document)
    for name in _TIMES:
        values[name] = _time(values[name])
    return shown_job(values, _summaries(values["samples"] or []), [_event(entry) for entry in values["history"] or []])


def _time(value: str | None) -> Any:
    return None if value is None else datetime.fromisoformat(value)


def _summaries(samples: Sequence[Mapping[str, Any]]) -> list[ErrorSummary]:
    return [
        ErrorSummary(
            reason=Reason(reason), count=total, identical=identical, samples=[_error(sample) for sample in of_reason]
        )
        for (total, identical, reason), of_reason in groupby(samples, itemgetter("total", "total_identical", "reason"))
    ]


def _error(sample: Mapping[str, Any]) -> ItemError:
    return ItemError(
        item_id=sample["item_id"],
        stage=Stage(sample["stage"]),
        reason=Reason(sample["reason"]),
        field=sample["field"],
        message=sample["message"],
        attempts=sample["attempts"],
        row_json=sample["row_json"],
        create_time=_time(sample["create_time"]),
        identical=sample["identical"],
    )


def _event(entry: Mapping[str, Any]) -> JobEvent:
    return JobEvent(
        kind=EventKind(entry["kind"]),
        time=_time(entry["time"]),
        actor=entry["actor"],
        reason=entry["reason"],
        detail=entry["detail"],
    )
