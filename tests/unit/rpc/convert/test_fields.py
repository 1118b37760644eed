"""The names of contract and model are the same, and what is unset is told from zero."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from blade.v1 import (
    config_service_pb2,
    error_reason_pb2,
    job_pb2,
    job_service_pb2,
    source_pb2,
)
from blade_server import model
from blade_server.errors import Invalid, Reason
from blade_server.rpc.convert.fields import instant, optional, seconds


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


def test_a_time_beyond_the_calendar_is_invalid() -> None:
    request = job_service_pb2.ListJobsRequest()
    assert instant(request, "created_after") is None

    request.created_after.seconds = 10**12

    with pytest.raises(Invalid, match="created_after"):
        instant(request, "created_after")


def test_a_duration_is_seconds_and_an_absent_one_is_none() -> None:
    request = job_service_pb2.WatchJobRequest()
    assert seconds(request, "min_interval") is None

    request.min_interval.FromMilliseconds(1500)

    assert seconds(request, "min_interval") == 1.5


def test_an_optional_field_knows_zero_from_unset() -> None:
    assert optional(config_service_pb2.ListSourcesRequest(), "page_size") is None
    assert optional(config_service_pb2.ListSourcesRequest(page_size=0), "page_size") == 0
