"""Syncs whose last success is older than they allow."""

from __future__ import annotations

from sqlalchemy import text

from blade_server.model.notification import NotificationEvent
from blade_server.storage.database import Database
from blade_server.storage.outbox import queue

_SINCE = "coalesce(last_success_time, create_time) + make_interval(secs => (spec ->> 'max_age_s')::float8)"
_NOW_LATE = text(
    f"""
    UPDATE sync SET late_told = true
    WHERE name IN (SELECT name FROM sync WHERE NOT late_told AND (spec ->> 'max_age_s')::float8 > 0
                   AND {_SINCE} < now() ORDER BY name LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING name, last_success_time, spec ->> 'max_age_s' AS max_age_s
    """  # noqa: S608 - from this file
)
_LATE_NO_MORE = text(
    f"""
    UPDATE sync SET late_told = false
    WHERE name IN (SELECT name FROM sync WHERE late_told
                   AND ((spec ->> 'max_age_s')::float8 = 0 OR {_SINCE} >= now()) LIMIT :limit FOR UPDATE SKIP LOCKED)
    """  # noqa: S608 - from this file
)


def tell_late(database: Database, *, limit: int) -> int:
    """Tells of those that have become so, once each; how many. One transaction; raises StorageUnavailable."""
    with database.begin() as connection:
        connection.execute(_LATE_NO_MORE, {"limit": limit})
        late = connection.execute(_NOW_LATE, {"limit": limit}).all()
        for row in late:
            last = row.last_success_time
            told = {
                "max_age_s": float(row.max_age_s),
                "last_success_time": None if last is None else last.isoformat(),
            }
            queue(connection, row.name, NotificationEvent.LATE, told)
        return len(late)
