"""Single fields: those that know whether they are set, times, and enums, whose names are the model's.

A unit test holds the names equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1 import error_reason_pb2
from blade_server.errors import Invalid, Reason

E = TypeVar("E", bound=StrEnum)


def numbers_of(members: type[E], enum: Any, prefix: str = "") -> Mapping[E, Any]:
    """The contract's number of each member."""
    return {member: enum.Value(prefix + member.name) for member in members}


REASONS = numbers_of(Reason, error_reason_pb2.ErrorReason, "ERROR_REASON_")


def optional(message: Message, field: str) -> Any:
    """The value of a field that knows whether it is set, or None."""
    return getattr(message, field) if message.HasField(field) else None


def instant(message: Message, field: str) -> datetime | None:
    """A Timestamp field, or None if it is unset. Raises Invalid beyond the years 1 to 9999."""
    timestamp: Timestamp | None = optional(message, field)
    try:
        return timestamp.ToDatetime(tzinfo=UTC) if timestamp is not None else None
    except (ValueError, OverflowError) as exc:
        raise Invalid.field(field, "is not a time of the years 1 to 9999") from exc


def seconds(message: Message, field: str) -> float | None:
    """A Duration field in seconds, or None if it is unset."""
    duration: Duration | None = optional(message, field)
    return duration.seconds + duration.nanos / 1e9 if duration is not None else None
