"""The table: which error is which gRPC status, and what it tells machines.

Every status carries one google.rpc.ErrorInfo (reason, domain `blade`, metadata); wrong fields add a BadRequest, a wrong
state a PreconditionFailure, a quota a QuotaFailure and RetryInfo, whatever is down a RetryInfo. Anything that is not in
the tree of errors is a bug: its text stays in the log, under an incident id that the caller gets.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from blade.v1.config_service_pb2 import TestSourceResponse
from blade_server import errors
from blade_server.rpc.convert.source import step_message

DOMAIN = "blade"
DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[type[errors.BladeError], grpc.StatusCode] = {
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.AccessDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Invalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.Precondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Deadline: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.StatementCancelled: grpc.StatusCode.CANCELLED,
    errors.ResultTruncated: grpc.StatusCode.DATA_LOSS,
}
"""Subclasses count as their nearest ancestor here. What has none (LeaseLost, any foreign error) is INTERNAL."""

# Clients take 8 KiB of trailers, and both the text and the details are in them.
_MAX_MESSAGE_BYTES = 1000
_MAX_DESCRIPTION_BYTES = 300
_MAX_METADATA_VALUE_BYTES = 200
_MAX_DETAILS_BYTES = 2500
_DEFAULT_RETRY_S = 1.0


class Failure:
    """An error as the caller gets it.

    `details` is a serialised google.rpc.Status; `incident` is the id of a bug, empty for an error of the tree.
    """

    def __init__(self, error: Exception) -> None:
        code = code_of(error)
        self.incident = ""
        if code is None or not isinstance(error, errors.BladeError):
            code, self.incident = grpc.StatusCode.INTERNAL, secrets.token_hex(6)
            error = errors.BladeError(
                f"this call hit a bug in BLADE; the server's log has the cause under incident {self.incident}",
                metadata={"incident": self.incident},
            )
        self.code = code
        self.reason = error.reason
        self.message = _cut(error.message, _MAX_MESSAGE_BYTES)
        status = Status(code=code.value[0], message=self.message)
        for detail in _details(error):
            packed = AnyMessage()
            packed.Pack(detail)
            if status.ByteSize() + packed.ByteSize() <= _MAX_MESSAGE_BYTES + _MAX_DETAILS_BYTES:
                status.details.append(packed)
        self.details: bytes = status.SerializeToString()


def code_of(error: BaseException) -> grpc.StatusCode | None:
    """The status of an error, None if the table has none for it."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), None)


def _details(error: errors.BladeError) -> Iterator[Message]:
    metadata = {key: _cut(value, _MAX_METADATA_VALUE_BYTES) for key, value in error.metadata.items()}
    yield ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)
    if isinstance(error, errors.ConnectionTestFailed):
        yield TestSourceResponse(steps=[step_message(step) for step in error.steps])
    if isinstance(error, errors.Invalid):
        yield _bad_request(error)
    elif isinstance(error, errors.Precondition):
        yield PreconditionFailure(
            violations=[
                PreconditionFailure.Violation(
                    type=error.reason.value,
                    subject=" ".join(f"{key}:{value}" for key, value in metadata.items()),
                    description=_cut(error.message, _MAX_DESCRIPTION_BYTES),
                )
            ]
        )
    elif isinstance(error, errors.QuotaExceeded):
        description = _cut(error.message, _MAX_DESCRIPTION_BYTES)
        violation = QuotaFailure.Violation(subject=error.subject, description=description)
        yield QuotaFailure(violations=[violation])
        yield _retry_info(error.retry_after_s)
    elif isinstance(error, errors.Unavailable):
        yield _retry_info(_DEFAULT_RETRY_S if error.retry_after_s is None else error.retry_after_s)


def _bad_request(error: errors.Invalid) -> BadRequest:
    """As many violations as fit."""
    bad_request = BadRequest()
    for violation in error.violations:
        field = _cut(violation.field, _MAX_METADATA_VALUE_BYTES)
        description = _cut(violation.description, _MAX_DESCRIPTION_BYTES)
        if bad_request.ByteSize() + len(field) + 4 * len(description) > _MAX_DETAILS_BYTES - 500:
            break
        bad_request.field_violations.add(field=field, description=description)
    return bad_request


def _retry_info(delay_s: float) -> RetryInfo:
    delay = Duration()
    delay.FromMilliseconds(round(delay_s * 1000))
    return RetryInfo(retry_delay=delay)


def _cut(text: str, limit_bytes: int) -> str:
    # A lone surrogate (from a file name, say) is not UTF-8 and would break the answer.
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    return raw[: limit_bytes - 3].decode("utf-8", "ignore") + "…"
