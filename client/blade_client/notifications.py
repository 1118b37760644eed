"""Notifications: the receivers that are told what happens to syncs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.field_mask_pb2 import FieldMask

from blade.v1 import notification_service_pb2 as pb
from blade.v1.notification_pb2 import Delivery, Notification
from blade_client.calls import Calls, names, new_request_id, pages


class NotificationCalls:
    """NotificationService; it is `BladeClient.notifications`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(self, notification: Notification, *, request_id: str | None = None) -> Notification:
        """Stores a receiver; `name` and `url` are needed.

        Raises:
            AlreadyExists, Invalid: The name is taken; a field is wrong, or the host or secret is not allowed.
        """
        request = pb.CreateNotificationRequest(notification=notification, request_id=request_id or new_request_id())
        return self._calls.unary(lambda s: s.notification.CreateNotification, request, repeatable=True).notification

    def get(self, name: str) -> Notification:
        """One receiver. Raises NotFound."""
        request = pb.GetNotificationRequest(name=name)
        return self._calls.unary(lambda s: s.notification.GetNotification, request, repeatable=True).notification

    def list(self, *, page_size: int | None = None) -> Iterator[Notification]:
        """All receivers in the order of their names, fetched page by page as they are read."""

        def fetch(token: str) -> tuple[Iterable[Notification], str]:
            request = pb.ListNotificationsRequest(page_size=page_size, page_token=token)
            page = self._calls.unary(lambda s: s.notification.ListNotifications, request, repeatable=True)
            return page.notifications, page.next_page_token

        return pages(fetch)

    def update(self, notification: Notification, *, fields: Iterable[str] = ()) -> Notification:
        """Changes a receiver, all named fields or none.

        The call is not repeated by itself after a broken connection: read it to see whether it went through.

        Args:
            notification: The new values; `name` says which one, `etag` (if set) makes the call fail with Conflict when
                somebody else changed it meanwhile.
            fields: Such as `url` or `events`. Default: every field that is set in `notification`.

        Raises:
            NotFound, Conflict, Invalid.
        """
        mask = FieldMask(paths=names(fields))
        request = pb.UpdateNotificationRequest(notification=notification, update_mask=mask if mask.paths else None)
        return self._calls.unary(lambda s: s.notification.UpdateNotification, request, repeatable=False).notification

    def delete(self, name: str, *, etag: str = "", reason: str = "") -> None:
        """Forgets a receiver.

        The call is not repeated by itself after a broken connection.

        Raises:
            NotFound, Conflict (another etag), Precondition (a sync names it).
        """
        request = pb.DeleteNotificationRequest(name=name, etag=etag, reason=reason)
        self._calls.unary(lambda s: s.notification.DeleteNotification, request, repeatable=False)

    def test(self, name: str) -> pb.TestNotificationResponse:
        """Sends a test message now. That it does not arrive is no error. Raises NotFound."""
        request = pb.TestNotificationRequest(name=name)
        return self._calls.unary(lambda s: s.notification.TestNotification, request, repeatable=True)

    def deliveries(self, name: str, *, page_size: int | None = None) -> Iterator[Delivery]:
        """What became of the messages of the last 7 days, newest first, page by page as read. Raises NotFound."""

        def fetch(token: str) -> tuple[Iterable[Delivery], str]:
            request = pb.ListDeliveriesRequest(name=name, page_size=page_size, page_token=token)
            page = self._calls.unary(lambda s: s.notification.ListDeliveries, request, repeatable=True)
            return page.deliveries, page.next_page_token

        return pages(fetch)
