"""What is answered when something is wrong: `{"error": {...}}` as in Google's REST APIs, with an HTTP code.

Errors of the service come here as gRPC errors and keep their details; what HTTP alone can get wrong is made here.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import grpc.aio
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from blade_server.errors import BladeError, Precondition, QuotaExceeded, Unauthenticated, Unavailable

_DETAILS_KEY = "grpc-status-details-bin"
_TYPE_PREFIX = "type.googleapis.com/google.rpc."

HTTP_CODES: Mapping[str, int] = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}
"""From the comments of google/rpc/code.proto."""

_STATUSES: Mapping[type, str] = {
    Unauthenticated: "UNAUTHENTICATED",
    Precondition: "FAILED_PRECONDITION",
    QuotaExceeded: "RESOURCE_EXHAUSTED",
    Unavailable: "UNAVAILABLE",
}


class Problem(Exception):
    """An answer that is an error.

    `code` is the HTTP code, `status` the name of a google.rpc.Code, `details` JSON objects with an `@type`.
    """

    def __init__(
        self,
        code: int,
        status: str,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.details = list(details)
        self.headers = dict(headers or {})
        if code == 401:
            self.headers.setdefault("www-authenticate", "Bearer")

    @classmethod
    def invalid(cls, field: str, description: str) -> Problem:
        """400 for one wrong field."""
        return cls.invalid_fields([(field, description)])

    @classmethod
    def invalid_fields(cls, violations: Sequence[tuple[str, str]]) -> Problem:
        """400 for wrong fields, (path in the request, what is wrong), with the same details as the service gives."""
        return cls(
            400,
            "INVALID_ARGUMENT",
            "; ".join(f"{field}: {description}" for field, description in violations),
            details=[
                {"@type": _TYPE_PREFIX + "ErrorInfo", "reason": "INVALID_FIELD", "domain": "blade"},
                {
                    "@type": _TYPE_PREFIX + "BadRequest",
                    "fieldViolations": [{"field": name, "description": text} for name, text in violations],
                },
            ],
        )

    @classmethod
    def no_page(cls, path: str) -> Problem:
        """404 for a path that no rule has."""
        return cls(404, "NOT_FOUND", f"nothing is served at {path[:200]}; /openapi.json lists what is")

    @classmethod
    def of_call(cls, error: grpc.aio.AioRpcError) -> Problem:
        """The error of a call, with its details decoded."""
        status = _status(error)
        name = Code.Name(error.code().value[0])
        problem = cls(
            HTTP_CODES[name], name, error.details() or name, details=[_decoded(detail) for detail in status.details]
        )
        for detail in status.details:
            retry = RetryInfo()
            if detail.Unpack(retry):
                # The header has whole seconds only; rounding down would call a client back too early.
                problem.headers["retry-after"] = str(max(1, math.ceil(retry.retry_delay.ToTimedelta().total_seconds())))
        return problem

    @classmethod
    def of(cls, error: BladeError) -> Problem:
        """An error of what the HTTP side does by itself: signing in and out."""
        name = next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), "INTERNAL")
        problem = cls(
            HTTP_CODES[name],
            name,
            error.message,
            details=[{"@type": _TYPE_PREFIX + "ErrorInfo", "reason": error.reason.value, "domain": "blade"}],
        )
        if isinstance(error, QuotaExceeded):
            problem.headers["retry-after"] = str(math.ceil(error.retry_after_s))
        return problem

    def document(self) -> dict[str, Any]:
        """What goes into the body."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}


def _status(error: grpc.aio.AioRpcError) -> Status:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                break
    return Status()


def _decoded(detail: AnyMessage) -> dict[str, Any]:
    try:
        return json_format.MessageToDict(detail)
    except (TypeError, json_format.Error):  # a type this process does not know
        return {"@type": detail.type_url, "value": base64.b64encode(detail.value).decode()}
