"""Protobuf and model say the same, field by field."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf import json_format

from blade.v1 import (
    config_service_pb2,
    error_reason_pb2,
    ingest_service_pb2,
    job_pb2,
    job_service_pb2,
    source_pb2,
)
from blade_server import model
from blade_server.errors import Invalid, Reason
from blade_server.rpc import convert

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
SOURCE = model.Source(
    name="parts",
    display_name="Parts",
    data_type="maintenance",
    enabled=False,
    config=model.SourceConfig(
        catalog="main",
        schema="blade",
        table="parts",
        warehouse_id="abc",
        host="h",
        credentials="env:DATABRICKS_X",
        items_per_second=1.5,
        max_running_jobs=2,
    ),
    mapping=model.RowMapping(
        item_id="P-{id}",
        last_modified="changed",
        classification=model.Classification(column="level"),
        metadata={"fleet": "7"},
    ),
    etag="e1",
)


@pytest.mark.parametrize(
    ("members", "enum", "prefix"),
    [
        (Reason, error_reason_pb2.ErrorReason, "ERROR_REASON_"),
        (model.StepKind, source_pb2.TestStep.Kind, ""),
        (model.StepOutcome, source_pb2.TestStep.Outcome, ""),
        (model.Stage, job_pb2.ItemError.Stage, ""),
        (model.Status, job_pb2.Job.Status, ""),
        (model.Action, job_pb2.Job.Action, ""),
        (model.WaitReason, job_pb2.Job.WaitReason, ""),
        (model.EventKind, job_pb2.JobEvent.Kind, ""),
    ],
)
def test_contract_and_model_have_the_same_names(members: type[StrEnum], enum: Any, prefix: str) -> None:
    of_contract = {name for name, _ in enum.items() if not name.endswith("UNSPECIFIED")}

    assert of_contract == {prefix + member.name for member in members}
    assert all(member.value == member.name for member in members)


def test_a_source_comes_back_as_it_went() -> None:
    assert convert.source_from(convert.source(SOURCE)) == SOURCE


def test_a_source_carries_what_only_the_server_knows() -> None:
    stats = model.SourceStats(item_count=2**40, last_job_id="job-1", last_success_time=NOW)

    sent = convert.source(dataclasses.replace(SOURCE, stats=stats, create_time=NOW, update_time=NOW))

    assert sent.stats.item_count == 2**31 - 1
    assert sent.stats.last_success_time.ToDatetime(tzinfo=UTC) == NOW
    assert sent.create_time.ToJsonString() == "2026-01-02T03:04:05.678Z"


def test_a_source_is_enabled_unless_it_says_no() -> None:
    assert convert.source_from(source_pb2.Source()).enabled
    assert not convert.source_from(source_pb2.Source(enabled=False)).enabled


def test_the_fields_of_an_update_without_a_mask_are_those_that_are_set() -> None:
    sent = source_pb2.Source(name="parts", etag="e", enabled=False, display_name="P")
    sent.config.table = "t"
    sent.mapping.classification.value = "UNCLASS"
    sent.stats.item_count = 3

    assert convert.set_fields(sent) == {"enabled", "display_name", "config.table", "mapping.classification"}
    assert convert.set_fields(source_pb2.Source(name="parts")) == set()


@pytest.mark.parametrize(
    ("data_json", "data"),
    [
        (b'{"n": 9007199254740992, "m": -9007199254740992}', {"n": 2.0**53, "m": -(2.0**53)}),
        (b'{"n": 9007199254740993, "m": -9007199254740993}', {"n": "9007199254740993", "m": "-9007199254740993"}),
        (b'{"n": 123456789012345678901234567890}', {"n": "123456789012345678901234567890"}),
        (
            b'{"deep": [{"n": 9007199254740993}, null, true, 1.5]}',
            {"deep": [{"n": "9007199254740993"}, None, True, 1.5]},
        ),
        ('{"ключ": "зна́чение 🚀"}'.encode(), {"ключ": "зна́чение 🚀"}),
        (b"{}", {}),
    ],
)
def test_a_row_keeps_its_values_and_integers_that_doubles_cannot_hold_become_strings(
    data_json: bytes, data: dict[str, Any]
) -> None:
    item = convert.item(model.Item("P-1", "maintenance", data_json, "UNCLASS", None, {"source": "parts"}))

    assert json_format.MessageToDict(item.data) == data
    assert not item.HasField("last_modified")


def test_the_last_change_of_an_item_is_a_timestamp() -> None:
    item = convert.item(model.Item("P-1", "m", b"{}", "UNCLASS", "2024-02-29T23:59:59.123456Z", {}))

    assert item.last_modified.ToDatetime(tzinfo=UTC) == datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)


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
    job = convert.job(a_job())

    unset = ("total_items", "estimated_completion", "error", "start_time", "end_time")
    assert not any(job.HasField(field) for field in unset)
    assert job.wait_reason == job.pending_action == 0
    assert not job.spec.limits.HasField("max_errors")


def test_zero_is_not_unknown() -> None:
    job = convert.job(
        a_job(
            total_items=0,
            spec=model.JobSpec(
                sql="", source="s", data_type="d", limits=model.JobLimits(max_errors=0, max_error_share=0.5)
            ),
        )
    )

    assert job.HasField("total_items")
    assert job.spec.limits.HasField("max_errors")
    assert convert.limits_from(job.spec.limits) == model.JobLimits(max_errors=0, max_error_share=0.5)


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
    sent = convert.job(
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
    assert (shown["processedItems"], shown["status"], shown["pausedDuration"]) == (7, "FAILED", "1.250s")
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


@pytest.mark.parametrize("number", [0, 7, 99])
def test_a_status_that_is_none_is_invalid(number: int) -> None:
    with pytest.raises(Invalid, match=f"{number} is not a status"):
        convert.statuses([1, number])


def test_every_status_can_be_asked_for() -> None:
    assert convert.statuses(job_pb2.Job.Status.values()[1:]) == list(model.Status)


def test_a_time_beyond_the_calendar_is_invalid() -> None:
    request = job_service_pb2.ListJobsRequest()
    assert convert.instant(request, "created_after") is None

    request.created_after.seconds = 10**12

    with pytest.raises(Invalid, match="created_after"):
        convert.instant(request, "created_after")


def test_a_duration_is_seconds_and_an_absent_one_is_none() -> None:
    request = job_service_pb2.WatchJobRequest()
    assert convert.seconds(request, "min_interval") is None

    request.min_interval.FromMilliseconds(1500)

    assert convert.seconds(request, "min_interval") == 1.5


def test_an_optional_field_knows_zero_from_unset() -> None:
    assert convert.optional(config_service_pb2.ListSourcesRequest(), "page_size") is None
    assert convert.optional(config_service_pb2.ListSourcesRequest(page_size=0), "page_size") == 0


def test_the_outcomes_of_an_ingestion_map_by_name() -> None:
    class Outcome(StrEnum):
        ALREADY_EXISTS = "ALREADY_EXISTS"

    assert (
        convert.ingest_outcome(Outcome.ALREADY_EXISTS) == ingest_service_pb2.IngestItemResponse.Outcome.ALREADY_EXISTS
    )
