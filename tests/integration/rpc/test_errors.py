"""What a caller sees of an error: status, details, and nothing of what is inside."""

from __future__ import annotations

import logging

import grpc
import pytest
from google.rpc import error_details_pb2 as details_pb2
from tests.support.nouns import a_job

from blade.v1 import config_service_pb2, config_service_pb2_grpc, job_service_pb2, job_service_pb2_grpc
from blade_server import errors
from blade_server.errors import Reason
from blade_server.model import StepKind, StepOutcome, TestStep

from .conftest import TIMEOUT_S, Details, RpcWorld, failure

STEPS = [TestStep(kind=StepKind.RESOLVE, outcome=StepOutcome.FAILED, message="no such host")]


def get_job(world: RpcWorld, **options: object) -> grpc.RpcError:
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)
    return failure(lambda: stub.GetJob(job_service_pb2.GetJobRequest(id="x"), timeout=TIMEOUT_S, **options))


@pytest.mark.parametrize(
    ("error", "code", "reason", "detail"),
    [
        (errors.Invalid.field("id", "bad"), "INVALID_ARGUMENT", "INVALID_FIELD", details_pb2.BadRequest),
        (errors.NotFound("no", reason=Reason.JOB_NOT_FOUND), "NOT_FOUND", "JOB_NOT_FOUND", None),
        (errors.AlreadyExists("taken"), "ALREADY_EXISTS", "SOURCE_EXISTS", None),
        (errors.Conflict("changed"), "ABORTED", "ETAG_MISMATCH", None),
        (
            errors.Precondition("final", reason=Reason.JOB_STATUS),
            "FAILED_PRECONDITION",
            "JOB_STATUS",
            details_pb2.PreconditionFailure,
        ),
        (
            errors.ConnectionTestFailed("no such host", steps=STEPS, metadata={"step": "RESOLVE"}),
            "FAILED_PRECONDITION",
            "CONNECTION_TEST_FAILED",
            details_pb2.PreconditionFailure,
        ),
        (
            errors.WarehouseRefused("[TABLE]"),
            "FAILED_PRECONDITION",
            "WAREHOUSE_REFUSED",
            details_pb2.PreconditionFailure,
        ),
        (
            errors.QuotaExceeded("many", subject="jobs"),
            "RESOURCE_EXHAUSTED",
            "QUOTA_EXCEEDED",
            details_pb2.QuotaFailure,
        ),
        (errors.QuotaExceeded("many", subject="jobs"), "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", details_pb2.RetryInfo),
        (errors.CatalogUnavailable("down"), "UNAVAILABLE", "CATALOG_UNAVAILABLE", details_pb2.RetryInfo),
        (
            errors.StorageUnavailable("down", retry_after_s=7),
            "UNAVAILABLE",
            "STORAGE_UNAVAILABLE",
            details_pb2.RetryInfo,
        ),
        (errors.Deadline("late"), "DEADLINE_EXCEEDED", "DEADLINE", None),
        (errors.ResultTruncated("short"), "DATA_LOSS", "RESULT_TRUNCATED", None),
    ],
)
def test_an_error_of_the_tree_is_its_status_with_reason_and_details(
    world: RpcWorld, error: errors.BladeError, code: str, reason: str, detail: type | None
) -> None:
    def get(job_id: str) -> None:
        raise error

    world.jobs.show.get = get

    seen = get_job(world)

    assert seen.code().name == code
    assert seen.details() == error.message
    details = Details(seen)
    assert (details.info.reason, details.info.domain) == (reason, "blade")
    assert dict(details.info.metadata) == error.metadata
    assert details.status.code == seen.code().value[0]
    assert details.status.message == error.message
    if detail is not None:
        assert details.of(detail) is not None


def test_the_wish_of_the_other_side_is_passed_on_as_the_retry_delay(world: RpcWorld) -> None:
    def get(job_id: str) -> None:
        raise errors.StorageUnavailable("down", retry_after_s=7.5)

    world.jobs.show.get = get

    delay = Details(get_job(world)).of(details_pb2.RetryInfo).retry_delay

    assert delay.ToMilliseconds() == 7500


@pytest.mark.parametrize(
    "bug", [KeyError("s3cret"), errors.LeaseLost("s3cret"), UnicodeDecodeError("utf-8", b"s3", 0, 1, "s3cret")]
)
def test_a_bug_is_internal_with_an_incident_that_is_in_the_log(
    world: RpcWorld, caplog: pytest.LogCaptureFixture, bug: Exception
) -> None:
    def get(job_id: str) -> None:
        raise bug

    world.jobs.show.get = get

    with caplog.at_level(logging.ERROR):
        seen = get_job(world)

    assert seen.code() is grpc.StatusCode.INTERNAL
    assert "s3cret" not in seen.details()
    incident = Details(seen).info.metadata["incident"]
    assert incident in seen.details()
    [record] = [record for record in caplog.records if incident in record.getMessage()]
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


def test_an_answer_that_cannot_be_made_is_a_bug_and_not_a_hung_call(world: RpcWorld) -> None:
    world.jobs.show.get = lambda job_id: a_job(success_count=2**63)

    assert get_job(world).code() is grpc.StatusCode.INTERNAL


def test_hundreds_of_violations_and_long_texts_still_reach_the_caller(world: RpcWorld) -> None:
    def get(job_id: str) -> None:
        raise errors.Invalid(
            [errors.Violation(field=f"поле[{n}]", description="слишком длинно " * 100) for n in range(500)]
        )

    world.jobs.show.get = get

    seen = get_job(world)

    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT
    violations = Details(seen).of(details_pb2.BadRequest).field_violations
    assert violations[0].field == "поле[0]"
    assert len(seen.details()) > 300


def raw_call(world: RpcWorld, method: str, raw: bytes) -> grpc.RpcError:
    call = world.channel.unary_unary(method, request_serializer=None, response_deserializer=None)
    return failure(lambda: call(raw, timeout=TIMEOUT_S))


@pytest.mark.parametrize(("raw", "says"), [(b"\x0a\x02\xff\xfe", "not UTF-8"), (b"\xff\xff\xff", "not such a message")])
def test_bytes_that_are_no_request_are_invalid(world: RpcWorld, raw: bytes, says: str) -> None:
    seen = raw_call(world, "/blade.v1.JobService/GetJob", raw)

    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert says in seen.details()
    assert Details(seen).info.reason == "INVALID_FIELD"


def test_a_stream_refuses_bytes_that_are_no_request_too(world: RpcWorld) -> None:
    call = world.channel.unary_stream("/blade.v1.JobService/WatchJob")

    seen = failure(lambda: list(call(b"\x0a\x02\xff\xfe", timeout=TIMEOUT_S)))

    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_nul_character_is_refused_with_the_path_of_its_field(world: RpcWorld) -> None:
    stub = config_service_pb2_grpc.ConfigServiceStub(world.channel)
    request = config_service_pb2.AddSourceRequest()
    request.source.config.table = "a\0b"

    seen = failure(lambda: stub.AddSource(request, timeout=TIMEOUT_S))

    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert Details(seen).of(details_pb2.BadRequest).field_violations[0].field == "source.config.table"


def test_a_nul_character_in_a_map_is_refused(world: RpcWorld) -> None:
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)
    request = job_service_pb2.StartQueryJobRequest(metadata={"k": "a\0"})

    seen = failure(lambda: stub.StartQueryJob(request, timeout=TIMEOUT_S))

    assert Details(seen).of(details_pb2.BadRequest).field_violations[0].field == "metadata"


def test_a_request_beyond_4_mib_is_refused_and_the_server_goes_on(world: RpcWorld) -> None:
    world.jobs.show.get = lambda job_id: a_job()
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)

    seen = failure(
        lambda: stub.StartQueryJob(job_service_pb2.StartQueryJobRequest(sql="x" * (5 << 20)), timeout=TIMEOUT_S)
    )

    assert seen.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.GetJob(job_service_pb2.GetJobRequest(id="x"), timeout=TIMEOUT_S).job.job_id == a_job().job_id


def test_one_line_of_log_for_a_call_says_method_code_and_peer_but_not_the_request(
    world: RpcWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def get(job_id: str) -> None:
        raise errors.NotFound("there is no such job", reason=Reason.JOB_NOT_FOUND)

    world.jobs.show.get = get
    stub = job_service_pb2_grpc.JobServiceStub(world.channel)

    with caplog.at_level(logging.INFO, "blade_server.rpc"):
        failure(lambda: stub.GetJob(job_service_pb2.GetJobRequest(id="s3cret"), timeout=TIMEOUT_S))

    [line] = [record.getMessage() for record in caplog.records if record.name == "blade_server.rpc.around.log"]
    assert line.startswith("blade.v1.JobService/GetJob NOT_FOUND JOB_NOT_FOUND ")
    assert "127.0.0.1:" in line
    assert "s3cret" not in line
