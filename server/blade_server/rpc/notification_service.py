"""blade.v1.NotificationService."""

# ruff: noqa: N802, D102  names and documentation are the contract's

from __future__ import annotations

from blade.v1 import notification_service_pb2 as pb
from blade.v1.notification_service_pb2_grpc import NotificationServiceServicer
from blade_server.core.notify.notifications import Notifications
from blade_server.rpc.caller import Context, current
from blade_server.rpc.convert.fields import optional
from blade_server.rpc.convert.notification import (
    delivery_message,
    notification_from,
    notification_message,
    set_fields,
)
from blade_server.rpc.threads import Threads


class NotificationService(NotificationServiceServicer):
    """Converts, calls `core.notify`, converts back."""

    def __init__(self, notifications: Notifications, threads: Threads) -> None:
        self._notifications = notifications
        self._threads = threads

    async def CreateNotification(
        self, request: pb.CreateNotificationRequest, context: Context
    ) -> pb.CreateNotificationResponse:
        asked = notification_from(request.notification)
        create = self._notifications.create
        stored = await self._threads.stored(create, asked, by=current(), request_id=request.request_id)
        return pb.CreateNotificationResponse(notification=notification_message(stored))

    async def GetNotification(self, request: pb.GetNotificationRequest, context: Context) -> pb.GetNotificationResponse:
        found = await self._threads.stored(self._notifications.get, request.name)
        return pb.GetNotificationResponse(notification=notification_message(found))

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        found, next_page_token = await self._threads.stored(
            self._notifications.list,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
        )
        return pb.ListNotificationsResponse(
            notifications=map(notification_message, found), next_page_token=next_page_token
        )

    async def UpdateNotification(
        self, request: pb.UpdateNotificationRequest, context: Context
    ) -> pb.UpdateNotificationResponse:
        asked = notification_from(request.notification)
        fields = set(request.update_mask.paths) or set_fields(request.notification)
        changed = await self._threads.stored(self._notifications.update, asked, fields, by=current())
        return pb.UpdateNotificationResponse(notification=notification_message(changed))

    async def DeleteNotification(
        self, request: pb.DeleteNotificationRequest, context: Context
    ) -> pb.DeleteNotificationResponse:
        delete = self._notifications.delete
        await self._threads.stored(delete, request.name, by=current(), etag=request.etag, reason=request.reason)
        return pb.DeleteNotificationResponse()

    async def TestNotification(
        self, request: pb.TestNotificationRequest, context: Context
    ) -> pb.TestNotificationResponse:
        attempt = await self._threads.outward(self._notifications.test, request.name, by=current())
        return pb.TestNotificationResponse(delivered=attempt.done, status=attempt.status, detail=attempt.detail)

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, context: Context) -> pb.ListDeliveriesResponse:
        found, next_page_token = await self._threads.stored(
            self._notifications.deliveries,
            request.name,
            by=current(),
            page_size=optional(request, "page_size"),
            page_token=request.page_token,
        )
        return pb.ListDeliveriesResponse(deliveries=map(delivery_message, found), next_page_token=next_page_token)
