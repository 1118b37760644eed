"""The one place where a failed gRPC call becomes an error of `blade_client.errors`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from grpc_status import rpc_status

from blade.v1.config_service_pb2 import TestSourceResponse
from blade.v1.source_pb2 import TestStep
from blade_client import errors

M = TypeVar("M", bound=Message)
_Code = grpc.StatusCode

_DESTINATION_STEPS = ("RESOLVE", "CONNECT", "AUTHENTICATE", "CAPABILITIES")
_SOURCE_STEPS = ("RESOLVE", "CONNECT", "AUTHENTICATE", "WAREHOUSE", "TABLE", "COLUMNS", "FETCH_ONE_ROW")
_CLASSES: dict[grpc.StatusCode, type[errors.BladeClientError]] = {
    _Code.INVALID_ARGUMENT: errors.Invalid,
    _Code.OUT_OF_RANGE: errors.Invalid,
    _Code.NOT_FOUND: errors.NotFound,
    _Code.ALREADY_EXISTS: errors.AlreadyExists,
    _Code.ABORTED: errors.Conflict,
    _Code.FAILED_PRECONDITION: errors.Precondition,
    _Code.UNAUTHENTICATED: errors.NotSignedIn,
    _Code.PERMISSION_DENIED: errors.NotAllowed,
    _Code.RESOURCE_EXHAUSTED: errors.QuotaExceeded,
    _Code.UNAVAILABLE: errors.Unavailable,
    _Code.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    _Code.CANCELLED: errors.Cancelled,
    _Code.DATA_LOSS: errors.IncompleteStream,
}


def error_of(failure: grpc.RpcError, *, target: str) -> errors.BladeClientError:
    """Makes the error for a failed call; `target` is the address that was called, for the message."""
    if not isinstance(failure, grpc.Call):
        return errors.ServerError(f"The call to {target} failed: {failure}")
    code = failure.code() or _Code.UNKNOWN
    details = _details(failure)
    info = next(_unpack(details, ErrorInfo), None)
    metadata = dict(info.metadata) if info else {}
    reason = info.reason.removeprefix("ERROR_REASON_") if info else ""
    kind = _CLASSES.get(code, errors.ServerError)
    message = failure.details() or ""
    if not reason:
        kind, message = _without_reason(kind, code, message, target)
    if reason == "CONNECTION_TEST_FAILED":
        kind = errors.ConnectionTestFailed
    error = kind(
        message or f"The server at {target} answered {code.name} without a message.",
        reason=reason,
        violations=list(_violations(details)),
        metadata=metadata,
        retry_after_s=_retry_after_s(details),
        code=code,
    )
    if isinstance(error, errors.ConnectionTestFailed):
        error.steps = _steps(details, error)
    return error


def _without_reason(
    kind: type[errors.BladeClientError], code: grpc.StatusCode, message: str, target: str
) -> tuple[type[errors.BladeClientError], str]:
    """Words for what gRPC, a proxy or a foreign server answered, who do not know BLADE's way to say things."""
    if code is _Code.UNAVAILABLE:
        return errors.Unreachable, f"No BLADE server answers at {target}: {message}"
    if code is _Code.DEADLINE_EXCEEDED:
        return kind, f"The server at {target} did not answer within the time limit."
    if code is _Code.UNIMPLEMENTED:
        return kind, f"The server at {target} does not know this call; is it a BLADE server of this version?"
    if kind is errors.ServerError:
        return kind, f"The server at {target} failed ({code.name}): {message}"
    return kind, message


def _details(call: grpc.Call) -> list[Any]:
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # a proxy changed code or message and left the details: they are not about this status
        return []
    return list(status.details) if status else []


def _unpack(details: list[Any], kind: type[M]) -> Iterator[M]:
    for detail in details:
        if detail.Is(kind.DESCRIPTOR):
            message = kind()
            detail.Unpack(message)
            yield message


def _violations(details: list[Any]) -> Iterator[errors.Violation]:
    for bad in _unpack(details, BadRequest):
        for field in bad.field_violations:
            yield errors.Violation(field=field.field, description=field.description)
    for quota in _unpack(details, QuotaFailure):
        for limit in quota.violations:
            yield errors.Violation(field=limit.subject, description=limit.description)
    for failed in _unpack(details, PreconditionFailure):
        for condition in failed.violations:
            yield errors.Violation(field=condition.subject, description=condition.description)


def _retry_after_s(details: list[Any]) -> float | None:
    for info in _unpack(details, RetryInfo):
        return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def _steps(details: list[Any], error: errors.BladeClientError) -> list[TestStep]:
    """The steps if the server sent them, else what the name of the failed one tells."""
    for response in _unpack(details, TestSourceResponse):
        return list(response.steps)
    failed = error.metadata.get("step", "").upper()
    kinds = _DESTINATION_STEPS if failed in _DESTINATION_STEPS[-1:] else _SOURCE_STEPS
    if failed not in kinds:
        return []
    at = kinds.index(failed)
    return [
        TestStep(
            kind=kind,
            outcome=TestStep.FAILED if place == at else TestStep.PASSED if place < at else TestStep.NOT_RUN,
            message=error.message if place == at else "",
        )
        for place, kind in enumerate(kinds)
    ]
