"""Grants and tokens."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1 import access_pb2
from blade_server.model.access import Grant


def set_time(field: Timestamp, time: datetime | None) -> None:
    """Sets a field of a message, or leaves it unset."""
    if time is not None:
        field.FromDatetime(time)


def grant_message(grant: Grant) -> access_pb2.Grant:
    """A grant."""
    message = access_pb2.Grant(
        grant_id=grant.grant_id,
        principal=grant.principal,
        group=grant.group,
        role=access_pb2.Role.Name(grant.role),
        scope=grant.scope,
        created_by=grant.created_by,
    )
    set_time(message.create_time, grant.create_time)
    return message
