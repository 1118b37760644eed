"""What is to be told to somebody outside: written with what it is about, sent later by any server, kept a while.

A message is sent at least once. Whoever takes one says so before he sends it and again when he has; if he dies between,
another sends it again, under the same id.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, text

from blade_server.model.notification import (
    Delivery,
    DeliveryState,
    Message,
    Notification,
    NotificationEvent,
    NotificationFormat,
)
from blade_server.storage import tables
from blade_server.storage.database import BELL, Database

OUTBOX = "outbox"
"""Rung in the place of a job's id when a message waits."""
LEASE_S = 120.0
"""So long nobody else sends a message that somebody has taken: more than any attempt takes."""
MAX_WAITING = 100
"""So many messages of one sync wait for a receiver: one more, and the oldest of them is dead."""
PATIENCE_S = 86400.0
"""After so long a message that nobody took is dead."""

_outbox, _notification = tables.outbox, tables.notification
_NEW_ID = "'msg_' || replace(gen_random_uuid()::text, '-', '')"

_QUEUE = text(
    f"""
    INSERT INTO outbox (message_id, notification, sync, event, data, create_time, next_attempt_time)
    SELECT {_NEW_ID}, notification.name, sync.name, CAST(:event AS text),
           jsonb_build_object('sync', sync.name, 'source', sync.source, 'data_type', sync.data_type,
                              'destination', sync.destination) || CAST(:data AS jsonb), now(), now()
    FROM sync JOIN notification ON jsonb_exists(sync.spec -> 'notifications', notification.name)
    WHERE sync.name = :sync AND NOT notification.disabled
      AND (notification.events = '[]' OR jsonb_exists(notification.events, :event))
    """  # noqa: S608 - from this file
)

_CROWDED_OUT = text(
    """
    UPDATE outbox SET state = 'DEAD', next_attempt_time = NULL, end_time = now(),
        detail = 'nobody took it, and ' || :most || ' newer messages of its sync wait'
    FROM (SELECT message_id, row_number() OVER (PARTITION BY notification ORDER BY seq DESC) AS place
          FROM outbox WHERE sync = :sync AND state = 'WAITING') AS crowd
    WHERE outbox.message_id = crowd.message_id AND crowd.place > :most AND outbox.state = 'WAITING'
    """
)

_TAKE = text(
    """
    WITH next AS (
        SELECT found.message_id, notification.url, notification.secret, notification.format
        FROM notification CROSS JOIN LATERAL (
            SELECT message_id FROM outbox
            WHERE outbox.notification = notification.name AND state = 'WAITING'
              AND next_attempt_time <= clock_timestamp()
            ORDER BY next_attempt_time LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS found
        WHERE notification.name <> ALL(CAST(:busy AS text[])) LIMIT :limit
    )
    UPDATE outbox SET attempts = outbox.attempts + 1,
        next_attempt_time = clock_timestamp() + make_interval(secs => :lease_s)
    FROM next WHERE outbox.message_id = next.message_id RETURNING outbox.*, next.url, next.secret, next.format
    """
)

_DELIVERED = text(
    """
    UPDATE outbox SET state = 'DELIVERED', status = :status, detail = '', next_attempt_time = NULL, end_time = now()
    WHERE message_id = :message_id AND state = 'WAITING'
    """
)

_FAILED = text(
    """
    UPDATE outbox SET status = :status, detail = :detail,
        state = CASE WHEN fate.dead THEN 'DEAD' ELSE 'WAITING' END,
        next_attempt_time = CASE WHEN fate.dead THEN NULL ELSE now() + make_interval(secs => :again_s) END,
        end_time = CASE WHEN fate.dead THEN now() END
    FROM (SELECT message_id, :final OR create_time + make_interval(secs => :patience_s)
                                       < now() + make_interval(secs => :again_s) AS dead
          FROM outbox WHERE message_id = :message_id) AS fate
    WHERE outbox.message_id = fate.message_id AND outbox.state = 'WAITING' AND outbox.attempts = :attempt
    """
)

_WAIT = text(
    """
    SELECT extract(epoch FROM min(next_attempt_time) - clock_timestamp())::float8 FROM outbox
    WHERE state = 'WAITING' AND notification <> ALL(CAST(:busy AS text[]))
    """
)


def queue(connection: Connection, sync: str, event: NotificationEvent, data: Mapping[str, Any]) -> None:
    """Writes a message for each notification of the sync that wants to hear of the event, in this transaction.

    Where more than MAX_WAITING of a sync wait for one receiver, the oldest are dead.

    `data` goes to it besides the names of the sync, its source, data type and destination.
    """
    written = connection.execute(_QUEUE, {"sync": sync, "event": event.value, "data": json.dumps(dict(data))})
    if written.rowcount:
        connection.execute(_CROWDED_OUT, {"sync": sync, "most": MAX_WAITING})
        connection.execute(text(f"SELECT pg_notify({BELL}, :payload)"), {"payload": OUTBOX})


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A message that is this server's to send, for the `attempt`-th time, and where to."""

    message: Message
    attempt: int
    receiver: Notification


class Outbox:
    """All methods are one transaction each and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, *, busy: Collection[str], limit: int) -> list[Taken]:
        """Messages that wait, at most one for each notification and none for those that are `busy`."""
        values = {"busy": sorted(busy), "limit": limit, "lease_s": LEASE_S}
        with self._database.begin() as connection:
            return [_taken(row) for row in connection.execute(_TAKE, values)]

    def delivered(self, taken: Taken, status: int) -> None:
        """The receiver has it."""
        with self._database.begin() as connection:
            connection.execute(_DELIVERED, {"message_id": taken.message.message_id, "status": status})

    def failed(self, taken: Taken, *, status: int, detail: str, again_s: float | None) -> None:
        """Nobody took it. It is tried again after so long, unless it is too old by then; None: never."""
        values = {
            "message_id": taken.message.message_id,
            "attempt": taken.attempt,
            "status": status,
            "detail": detail,
            "final": again_s is None,
            "again_s": again_s or 0.0,
            "patience_s": PATIENCE_S,
        }
        with self._database.begin() as connection:
            connection.execute(_FAILED, values)

    def wait_s(self, *, busy: Collection[str]) -> float | None:
        """How long until the next message may be taken; None: none waits."""
        with self._database.read() as connection:
            wait_s = connection.execute(_WAIT, {"busy": sorted(busy)}).scalar()
        return None if wait_s is None else float(wait_s)

    def deliveries(self, notification: str, *, before: int | None, limit: int) -> list[tuple[int, Delivery]]:
        """At most `limit` messages for a notification with their numbers, newest first, before a number."""
        query = select(_outbox).where(_outbox.c.notification == notification)
        if before is not None:
            query = query.where(_outbox.c.seq < before)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(_outbox.c.seq.desc()).limit(limit)).all()
        return [(row.seq, _delivery(row)) for row in rows]


def _taken(row: Row[Any]) -> Taken:
    return Taken(
        message=_message(row),
        attempt=row.attempts,
        receiver=Notification(
            name=row.notification, url=row.url, secret=row.secret, format=NotificationFormat(row.format)
        ),
    )


def _message(row: Row[Any]) -> Message:
    return Message(
        message_id=row.message_id,
        notification=row.notification,
        sync=row.sync,
        event=NotificationEvent(row.event),
        time=row.create_time,
        data=row.data,
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        message=_message(row),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        status=row.status,
        detail=row.detail,
        next_attempt_time=row.next_attempt_time,
        end_time=row.end_time,
    )
