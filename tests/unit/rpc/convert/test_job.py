"""What is known of a job is shown, and what is unknown is unset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import json_format
from tests.support.nouns import FULL_SOURCE as SOURCE

from blade.v1 import job_pb2
from blade_server import model
from blade_server.errors import Invalid, Reason
from blade_server.rpc.convert.job import job_message, limits_from, statuses_from

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def a_job(**changes: Any) -> model.Job:
    fields: dict[str, Any] = {
        "job_id": "job-1",
        "status": model.Status.RUNNING,
        "spec": model.JobSpec(sql="SELECT 1", source="parts", data_type="maintenance", metadata={"a": "b"}),
        "source": SOURCE,
        "create_time": NOW,
        "update_time": NOW,
    }
    return model.Job(**(fields | changes))


def test_what_is_unknown_of_a_job_is_unset() -> None:
    job = job_message(a_job())

    unset = ("total_items", "estimated_completion", "error", "start_time", "end_time")
    assert not any(job.HasField(field) for field in unset)
    assert job.wait_reason == job.pending_action == 0
    assert not job.spec.limits.HasField("max_errors")


def test_the_least_classification_is_shown() -> None:
    spec = model.JobSpec(sql="", source="s", data_type="d", min_classification="CUI")
    assert job_message(a_job(spec=spec)).spec.min_classification == "CUI"


def test_zero_is_not_unknown() -> None:
    job = job_message(
        a_job(
            total_items=0,
            spec=model.JobSpec(
                sql="", source="s", data_type="d", limits=model.JobLimits(max_errors=0, max_error_share=0.5)
            ),
        )
    )

    assert job.HasField("total_items")
    assert job.spec.limits.HasField("max_errors")
    assert limits_from(job.spec.limits) == model.JobLimits(max_errors=0, max_error_share=0.5)


def test_a_job_shows_counts_times_waits_errors_and_history() -> None:
    error = model.ItemError(
        item_id="P-1",
        stage=model.Stage.UPLOAD,
        reason=Reason.CATALOG_REJECTED,
        field="f",
        message="no",
        attempts=4,
        row_json="{}",
        create_time=NOW,
    )
    sent = job_message(
        a_job(
            status=model.Status.FAILED,
            success_count=1,
            error_count=2,
            skipped_count=4,
            wait_reason=model.WaitReason.CATALOG_DOWN,
            pending_action=model.Action.CANCEL,
            error_reason=Reason.TOO_MANY_ERRORS,
            error_message="2 of 3",
            paused_s=1.25,
            start_time=NOW,
            error_summaries=[model.ErrorSummary(reason=Reason.CATALOG_REJECTED, count=2, samples=[error])],
            history=[model.JobEvent(kind=model.EventKind.CLAIMED, time=NOW, actor="me", reason="r", detail="d")],
        )
    )

    shown = json_format.MessageToDict(sent)
    assert (sent.processed_items, shown["status"], shown["pausedDuration"]) == (7, "FAILED", "1.250s")
    assert shown["error"] == {"reason": "ERROR_REASON_TOO_MANY_ERRORS", "message": "2 of 3"}
    assert (shown["waitReason"], shown["pendingAction"]) == ("CATALOG_DOWN", "CANCEL")
    assert shown["errorSummaries"][0]["samples"][0] == {
        "itemId": "P-1",
        "stage": "UPLOAD",
        "reason": "ERROR_REASON_CATALOG_REJECTED",
        "field": "f",
        "message": "no",
        "attempts": 4,
        "rowJson": "{}",
        "createTime": "2026-01-02T03:04:05.678Z",
    }
    assert shown["history"][0]["kind"] == "CLAIMED"


@pytest.mark.parametrize("status", list(model.Status))
@pytest.mark.parametrize("errors", [0, 1])
def test_only_a_completed_job_with_failed_items_completed_with_errors(status: model.Status, errors: int) -> None:
    sent = job_message(a_job(status=status, error_count=errors))

    assert sent.completed_with_errors == (status is model.Status.COMPLETED and errors == 1)


@pytest.mark.parametrize("number", [0, 7, 99])
def test_a_status_that_is_none_is_invalid(number: int) -> None:
    with pytest.raises(Invalid, match=f"{number} is not a status"):
        statuses_from([1, number])


def test_every_status_can_be_asked_for() -> None:
    assert statuses_from(job_pb2.Job.Status.values()[1:]) == list(model.Status)
