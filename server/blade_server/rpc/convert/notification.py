"""Notifications and deliveries."""

from __future__ import annotations

from blade.v1 import notification_pb2 as pb
from blade_server.errors import Invalid
from blade_server.model.notification import (
    Delivery,
    DeliveryState,
    Notification,
    NotificationEvent,
    NotificationFormat,
)
from blade_server.rpc.convert.access import set_time
from blade_server.rpc.convert.fields import numbers_of

EVENTS = numbers_of(NotificationEvent, pb.Notification.Event)
FORMATS = numbers_of(NotificationFormat, pb.Notification.Format)
STATES = numbers_of(DeliveryState, pb.Delivery.State)
_EVENT_OF = {number: event for event, number in EVENTS.items()}
_FORMAT_OF = {number: format_ for format_, number in FORMATS.items()} | {0: NotificationFormat.CLOUD_EVENTS}


def notification_from(message: pb.Notification) -> Notification:
    """What a caller says of one; the output-only fields are left behind. Raises Invalid for an unknown enum."""
    unknown = [number for number in message.events if number not in _EVENT_OF]
    if unknown:
        raise Invalid.field("notification.events", f"{unknown[0]} is none of {', '.join(NotificationEvent)}")
    if message.format not in _FORMAT_OF:
        known = ", ".join(NotificationFormat)
        raise Invalid.field("notification.format", f"{message.format} is none of {known}")
    return Notification(
        name=message.name,
        etag=message.etag,
        url=message.url,
        secret=message.secret,
        format=_FORMAT_OF[message.format],
        events=tuple(_EVENT_OF[number] for number in message.events),
        disabled=message.disabled,
    )


def set_fields(message: pb.Notification) -> set[str]:
    """What an absent mask stands for: all fields that are set and can change."""
    return {field.name for field, _ in message.ListFields()} - {"name", "etag", "create_time", "update_time"}


def notification_message(notification: Notification) -> pb.Notification:
    """A notification."""
    message = pb.Notification(
        name=notification.name,
        etag=notification.etag,
        url=notification.url,
        secret=notification.secret,
        format=FORMATS[notification.format],
        events=[EVENTS[event] for event in notification.events],
        disabled=notification.disabled,
    )
    set_time(message.create_time, notification.create_time)
    set_time(message.update_time, notification.update_time)
    return message


def delivery_message(delivery: Delivery) -> pb.Delivery:
    """A message and what became of it."""
    message = pb.Delivery(
        message_id=delivery.message.message_id,
        sync=delivery.message.sync,
        event=EVENTS[delivery.message.event],
        state=STATES[delivery.state],
        attempts=delivery.attempts,
        status=delivery.status,
        detail=delivery.detail,
    )
    set_time(message.time, delivery.message.time)
    set_time(message.next_attempt_time, delivery.next_attempt_time)
    set_time(message.end_time, delivery.end_time)
    return message
