from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details

from blade.v1.config_service_pb2 import TestSourceResponse as SourceTestResponse
from blade.v1.source_pb2 import Source
from blade.v1.source_pb2 import TestStep as Step
from blade_client import errors

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (Code.INVALID_ARGUMENT, "INVALID_FIELD", errors.Invalid),
        (Code.NOT_FOUND, "SOURCE_NOT_FOUND", errors.NotFound),
        (Code.ALREADY_EXISTS, "SOURCE_EXISTS", errors.AlreadyExists),
        (Code.ABORTED, "ETAG_MISMATCH", errors.Conflict),
        (Code.FAILED_PRECONDITION, "SOURCE_DISABLED", errors.Precondition),
        (Code.FAILED_PRECONDITION, "CONNECTION_TEST_FAILED", errors.ConnectionTestFailed),
        (Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", errors.QuotaExceeded),
        (Code.UNAVAILABLE, "WAREHOUSE_UNAVAILABLE", errors.Unavailable),
        (Code.DEADLINE_EXCEEDED, "DEADLINE", errors.DeadlineExceeded),
        (Code.DATA_LOSS, "RESULT_TRUNCATED", errors.IncompleteStream),
        (Code.INTERNAL, "INTERNAL", errors.ServerError),
        (Code.CANCELLED, "", errors.Cancelled),
        (Code.UNAUTHENTICATED, "UNAUTHENTICATED", errors.NotSignedIn),
        (Code.UNAUTHENTICATED, "", errors.NotSignedIn),
        (Code.PERMISSION_DENIED, "ACCESS_DENIED", errors.NotAllowed),
        (Code.PERMISSION_DENIED, "", errors.NotAllowed),
        (Code.UNIMPLEMENTED, "", errors.ServerError),
        (Code.UNKNOWN, "", errors.ServerError),
    ],
)
def test_a_status_becomes_its_error_with_message_reason_and_code(server, blade, code, reason, kind) -> None:
    server.on("GetSource", server.fails(code, "no good: xyz", reason))
    with pytest.raises(errors.BladeClientError) as caught:
        blade.get_source("x")
    error = caught.value
    assert type(error) is kind
    assert (error.reason, error.code) == (reason, code)
    if reason:
        assert str(error) == error.message == "no good: xyz"
    else:
        assert error.message


def test_a_reason_is_the_same_with_and_without_the_prefix_of_the_enum(server, blade) -> None:
    server.on("GetSource", server.fails(Code.NOT_FOUND, "no source x", "ERROR_REASON_SOURCE_NOT_FOUND"))
    with pytest.raises(errors.NotFound) as caught:
        blade.get_source("x")
    assert caught.value.reason == "SOURCE_NOT_FOUND"


def test_field_violations_and_metadata_arrive(server, blade) -> None:
    bad = details.BadRequest()
    bad.field_violations.add(field="source.name", description="'X' has a capital")
    bad.field_violations.add(field="source.config.table", description="is missing")
    server.on("AddSource", server.fails(Code.INVALID_ARGUMENT, "wrong", "INVALID_FIELD", bad, hint="lower"))
    with pytest.raises(errors.Invalid) as caught:
        blade.add_source(Source(name="X"))
    assert caught.value.violations == [
        errors.Violation(field="source.name", description="'X' has a capital"),
        errors.Violation(field="source.config.table", description="is missing"),
    ]
    assert caught.value.metadata == {"hint": "lower"}


def test_a_quota_says_what_is_full_and_when_to_come_back(server, blade) -> None:
    full = details.QuotaFailure()
    full.violations.add(subject="jobs", description="10,000 jobs are open")
    retry = details.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    server.on("StartQueryJob", server.fails(Code.RESOURCE_EXHAUSTED, "full", "QUOTA_EXCEEDED", full, retry))
    with pytest.raises(errors.QuotaExceeded) as caught:
        blade.start_query_job("SELECT 1")
    assert caught.value.retry_after_s == 2.5
    assert caught.value.violations == [errors.Violation(field="jobs", description="10,000 jobs are open")]


def test_a_failed_precondition_names_its_subject(server, blade) -> None:
    failed = details.PreconditionFailure()
    failed.violations.add(type="JOB_STATUS", subject="job:1", description="is COMPLETED")
    server.on("PauseJob", server.fails(Code.FAILED_PRECONDITION, "too late", "JOB_STATUS", failed))
    with pytest.raises(errors.Precondition) as caught:
        blade.pause("1")
    assert caught.value.violations == [errors.Violation(field="job:1", description="is COMPLETED")]


def test_a_failed_connection_test_brings_the_steps_it_was_sent(server, blade) -> None:
    steps = SourceTestResponse(steps=[Step(kind="RESOLVE", outcome="FAILED", message="no such host", duration_ms=3)])
    failure = server.fails(Code.FAILED_PRECONDITION, "no such host", "CONNECTION_TEST_FAILED", steps)
    server.on("AddSource", failure)
    with pytest.raises(errors.ConnectionTestFailed) as caught:
        blade.add_source(Source(name="x"))
    assert list(caught.value.steps) == list(steps.steps)


@pytest.mark.parametrize("name", ["TABLE", "table"])
def test_a_failed_connection_test_tells_the_steps_from_the_name_of_the_failed_one(server, blade, name) -> None:
    failure = server.fails(Code.FAILED_PRECONDITION, "no table t", "CONNECTION_TEST_FAILED", step=name)
    server.on("AddSource", failure)
    with pytest.raises(errors.ConnectionTestFailed) as caught:
        blade.add_source(Source(name="x"))
    assert [(Step.Kind.Name(step.kind), Step.Outcome.Name(step.outcome)) for step in caught.value.steps] == [
        ("RESOLVE", "PASSED"),
        ("CONNECT", "PASSED"),
        ("AUTHENTICATE", "PASSED"),
        ("WAREHOUSE", "PASSED"),
        ("TABLE", "FAILED"),
        ("COLUMNS", "NOT_RUN"),
        ("FETCH_ONE_ROW", "NOT_RUN"),
    ]
    assert [step.message for step in caught.value.steps if step.message] == ["no table t"]


def test_a_long_message_arrives_whole(server, blade) -> None:
    long = "é" * 10_000
    server.on("GetSource", server.fails(Code.NOT_FOUND, long, "SOURCE_NOT_FOUND"))
    with pytest.raises(errors.NotFound) as caught:
        blade.get_source("x")
    assert caught.value.message == long


def test_an_error_of_a_stream_is_translated_too(server, blade) -> None:
    server.on("QueryItems", server.fails(Code.NOT_FOUND, "no data type x", "SOURCE_NOT_FOUND"))
    with pytest.raises(errors.NotFound, match="no data type x"):
        list(blade.query("x"))
