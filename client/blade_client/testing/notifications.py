"""NotificationService over a dictionary; every test message arrives, and nothing is delivered."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from typing import Any

from blade.v1 import notification_service_pb2 as pb
from blade.v1.notification_pb2 import Notification
from blade_client import errors
from blade_client.testing.pages import page_of
from blade_client.testing.replays import Replays
from blade_client.testing.statuses import invalid


class Notifications:
    """Receivers by name."""

    def __init__(self) -> None:
        self.stored: dict[str, Notification] = {}
        self._changes = 0
        self._replays = Replays()

    def CreateNotification(self, request: pb.CreateNotificationRequest, context: Any) -> pb.CreateNotificationResponse:
        stored = self._replays.answer(request.request_id, request)
        if stored is None:
            wanted = request.notification
            if not wanted.name or not wanted.url:
                raise invalid("notification.url" if wanted.name else "notification.name", "is required")
            if wanted.name in self.stored:
                reason = "NOTIFICATION_EXISTS"
                raise errors.AlreadyExists(f"a notification named {wanted.name!r} exists", reason=reason)
            stored = self._replays.remember(request.request_id, request, self._keep(wanted))
        return pb.CreateNotificationResponse(notification=stored)

    def GetNotification(self, request: pb.GetNotificationRequest, context: Any) -> pb.GetNotificationResponse:
        return pb.GetNotificationResponse(notification=self._named(request.name, ""))

    def ListNotifications(self, request: pb.ListNotificationsRequest, context: Any) -> pb.ListNotificationsResponse:
        found, token = page_of([self.stored[name] for name in sorted(self.stored)], request, default=100)
        return pb.ListNotificationsResponse(notifications=found, next_page_token=token)

    def UpdateNotification(self, request: pb.UpdateNotificationRequest, context: Any) -> pb.UpdateNotificationResponse:
        new = request.notification
        changed = Notification()
        changed.CopyFrom(self._named(new.name, new.etag))
        given = [field.name for field, _ in new.ListFields() if field.name not in {"name", "etag"}]
        for path in request.update_mask.paths or given:
            if path not in {"url", "secret", "format", "events", "disabled"}:
                raise invalid("update_mask", f"{path!r} is not a field that can change")
            changed.ClearField(path)
            only = Notification()
            only.CopyFrom(new)
            for field in Notification.DESCRIPTOR.fields:
                if field.name != path:
                    only.ClearField(field.name)
            changed.MergeFrom(only)
        return pb.UpdateNotificationResponse(notification=self._keep(changed))

    def DeleteNotification(self, request: pb.DeleteNotificationRequest, context: Any) -> pb.DeleteNotificationResponse:
        del self.stored[self._named(request.name, request.etag).name]
        return pb.DeleteNotificationResponse()

    def TestNotification(self, request: pb.TestNotificationRequest, context: Any) -> pb.TestNotificationResponse:
        self._named(request.name, "")
        return pb.TestNotificationResponse(delivered=True, status=204)

    def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Any) -> pb.ListDeliveriesResponse:
        self._named(request.name, "")
        return pb.ListDeliveriesResponse()

    def _keep(self, notification: Notification) -> Notification:
        kept = Notification()
        kept.CopyFrom(notification)
        kept.update_time.GetCurrentTime()
        if not kept.HasField("create_time"):
            kept.create_time.CopyFrom(kept.update_time)
        kept.format = kept.format or Notification.CLOUD_EVENTS
        self._changes += 1
        kept.etag = f"etag-{self._changes}"
        self.stored[kept.name] = kept
        return kept

    def _named(self, name: str, etag: str) -> Notification:
        if name not in self.stored:
            raise errors.NotFound(f"there is no notification {name!r}", reason="NOTIFICATION_NOT_FOUND")
        if etag not in ("", self.stored[name].etag):
            raise errors.Conflict(f"notification {name!r} was changed by somebody else", reason="ETAG_MISMATCH")
        return self.stored[name]
