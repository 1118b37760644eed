"""Notifications: who is told what happens to syncs, and what became of each message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class NotificationEvent(StrEnum):
    """What somebody can be told; see `blade.v1.Notification.Event`."""

    RUN_FAILED = "RUN_FAILED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    DELETES_WITHHELD = "DELETES_WITHHELD"
    LATE = "LATE"
    SELF_PAUSED = "SELF_PAUSED"
    BLOCKED = "BLOCKED"
    RECOVERED = "RECOVERED"
    TEST = "TEST"


class NotificationFormat(StrEnum):
    """How a message is written; see `blade.v1.Notification.Format`."""

    CLOUD_EVENTS = "CLOUD_EVENTS"
    SLACK = "SLACK"


class DeliveryState(StrEnum):
    """What became of a message; see `blade.v1.Delivery.State`."""

    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A receiver. `url` is one, or a reference to one; `secret` a reference; no `events`: all of them."""

    name: str
    url: str
    secret: str = ""
    format: NotificationFormat = NotificationFormat.CLOUD_EVENTS
    events: Sequence[NotificationEvent] = ()
    disabled: bool = False
    etag: str = ""
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event for one receiver. `data` has names, counts, job ids and words of reasons; nothing of a row."""

    message_id: str
    notification: str
    sync: str
    event: NotificationEvent
    time: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message and what became of it. `status`: the last HTTP status, 0: there was no answer."""

    message: Message
    state: DeliveryState
    attempts: int = 0
    status: int = 0
    detail: str = ""
    next_attempt_time: datetime | None = None
    end_time: datetime | None = None
