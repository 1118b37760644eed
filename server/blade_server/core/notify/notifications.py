"""Notifications as callers set them up."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from secrets import token_hex

from blade_server.core import paging
from blade_server.core.audit.recorder import Recorder
from blade_server.core.checks import check_length, check_reason, raise_for
from blade_server.core.jobs.checks import check_request_id
from blade_server.core.jobs.ids import fingerprint
from blade_server.core.notify.deliver import Attempt, deliver
from blade_server.core.notify.receiver import receiver
from blade_server.core.paging import make_token, read_token
from blade_server.core.sources.rules import NAME
from blade_server.errors import Invalid
from blade_server.model.access import Caller
from blade_server.model.notification import Delivery, Message, Notification, NotificationEvent
from blade_server.model.policy import NotifyPolicy
from blade_server.storage.notifications import NotificationStore
from blade_server.storage.outbox import Outbox

DEFAULT_PAGE_SIZE = 100
MAX_URL_CHARACTERS = 2000
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
PATHS = frozenset(("url", "secret", "format", "events", "disabled"))
"""What of a notification can change."""


class Notifications:
    """Thread-safe; each call blocks on PostgreSQL, `test` on the receiver too."""

    def __init__(self, policy: NotifyPolicy, store: NotificationStore, outbox: Outbox, recorder: Recorder) -> None:
        self._policy = policy
        self._store = store
        self._outbox = outbox
        self._recorder = recorder

    def create(self, notification: Notification, *, by: Caller, request_id: str = "") -> Notification:
        """Checks that it leads somewhere it may, and stores it; nothing is sent.

        Raises Invalid, naming the wrong fields, AlreadyExists.
        """
        raise_for([*_check(notification), *check_request_id(request_id)])
        receiver(self._policy, notification)
        body = asdict(replace(notification, etag="", create_time=None, update_time=None))
        request_hash = fingerprint(body)
        return self._store.add(notification, by=by, request_id=request_id, request_hash=request_hash)

    def get(self, name: str) -> Notification:
        """Raises Invalid, NotFound."""
        return self._store.get(_given(name))

    def list(
        self, *, by: Caller, page_size: int | None = None, page_token: str = ""
    ) -> tuple[builtins.list[Notification], str]:
        """A page in the order of the names, and the token of the next page. Raises Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"notifications{by.bound}"
        found = builtins.list(self._store.page(read_token(page_token, scope=scope), size + 1))
        return found[:size], make_token(found[size - 1].name, scope=scope) if len(found) > size else ""

    def update(self, changed: Notification, fields: Collection[str], *, by: Caller) -> Notification:
        """Changes these fields. Raises Invalid, NotFound, and Conflict if an etag is given and another is stored."""
        unknown = sorted(set(fields) - PATHS)
        if unknown:
            raise Invalid.field("update_mask", f"{unknown[0]!r} is none of {', '.join(sorted(PATHS))}")
        stored = self._store.get(_given(changed.name, "notification.name"))
        wanted = replace(stored, **{field: getattr(changed, field) for field in fields})
        raise_for(_check(wanted))
        receiver(self._policy, wanted)
        return self._store.update(wanted, changed.etag or stored.etag, by=by)

    def delete(self, name: str, *, by: Caller, etag: str = "", reason: str = "") -> None:
        """With what waits to be sent. Raises Invalid, NotFound, Conflict, Precondition while a sync names it."""
        raise_for(check_reason(reason))
        self._store.remove(_given(name), etag, by=by, reason=reason)

    def test(self, name: str, *, by: Caller) -> Attempt:
        """Sends a message, once and now, and says what became of it. Raises Invalid, NotFound."""
        notification = self._store.get(_given(name))
        message = Message(
            message_id=f"msg_{token_hex(16)}",
            notification=name,
            sync="",
            event=NotificationEvent.TEST,
            time=datetime.now(UTC),
            data={"notification": name, "by": by.principal.name},
        )
        with self._recorder.outside(by, f"notification:{name}", "a test message"):
            return deliver(self._policy, notification, message)

    def deliveries(
        self, name: str, *, by: Caller, page_size: int | None = None, page_token: str = ""
    ) -> tuple[builtins.list[Delivery], str]:
        """A page of what was and is to be sent, newest first, and the token of the next. Raises Invalid, NotFound."""
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        self._store.get(_given(name))
        scope = f"deliveries\0{name}{by.bound}"
        before = read_token(page_token, scope=scope)
        if before and not _NUMBER.fullmatch(before):
            raise Invalid.field("page_token", "is forged; begin again without a token")
        found = self._outbox.deliveries(name, before=int(before) if before else None, limit=size + 1)
        token = make_token(str(found[size - 1][0]), scope=scope) if len(found) > size else ""
        return [delivery for _, delivery in found[:size]], token


def _given(name: str, field: str = "name") -> str:
    if not name:
        raise Invalid.field(field, "is required")
    return name


def _check(notification: Notification) -> Iterator[tuple[str, str]]:
    name, events = notification.name, builtins.list(notification.events)
    if not NAME.fullmatch(name):
        named = "1 to 63 lower-case letters, digits and hyphens, beginning with a letter"
        yield "notification.name", f"{name[:80]!r} is not {named}" if name else "is required"
    yield from check_length("notification.url", notification.url, MAX_URL_CHARACTERS)
    yield from check_length("notification.secret", notification.secret, MAX_URL_CHARACTERS)
    if NotificationEvent.TEST in events:
        yield "notification.events", "has TEST, which TestNotification sends whatever stands here"
    if len(set(events)) != len(events):
        yield "notification.events", "has an event twice"
