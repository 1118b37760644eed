"""The errors of the client as the statuses that make them: `blade_client.status` the other way round."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from blade.v1.config_service_pb2 import TestSourceResponse
from blade_client import errors

_CODES: dict[type[errors.BladeClientError], grpc.StatusCode] = {
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Precondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotSignedIn: grpc.StatusCode.UNAUTHENTICATED,
    errors.Denied: grpc.StatusCode.PERMISSION_DENIED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.IncompleteStream: grpc.StatusCode.DATA_LOSS,
}


def status_of(error: errors.BladeClientError) -> grpc.Status:
    """What a server sends so that the client raises this error; without a reason, as a proxy or gRPC itself does."""
    known = (_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    code = error.code or next(known, grpc.StatusCode.INTERNAL)
    status = status_pb2.Status(code=code.value[0], message=error.message)
    for detail in _details(error):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


def _details(error: errors.BladeClientError) -> Iterator[Message]:
    if error.reason:
        yield error_details_pb2.ErrorInfo(reason=error.reason, domain="blade", metadata=error.metadata)
    if isinstance(error, errors.ConnectionTestFailed):
        yield TestSourceResponse(steps=error.steps)
    for violation in error.violations:
        if isinstance(error, errors.Invalid):
            yield error_details_pb2.BadRequest(
                field_violations=[{"field": violation.field, "description": violation.description}]
            )
        elif isinstance(error, errors.QuotaExceeded):
            yield error_details_pb2.QuotaFailure(
                violations=[{"subject": violation.field, "description": violation.description}]
            )
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def invalid(field: str, description: str, *, reason: str = "INVALID_FIELD") -> errors.Invalid:
    """One wrong field."""
    violation = errors.Violation(field=field, description=description)
    return errors.Invalid(f"{field}: {description}", reason=reason, violations=[violation])
