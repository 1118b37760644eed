"""Rates that hold over all jobs and replicas: who may send when, decided by PostgreSQL's clock."""

from __future__ import annotations

from sqlalchemy import text

from blade_server.storage.database import Database

_RESERVE = text(
    """
    INSERT INTO pace AS mine (key, next_free) VALUES (:key, now() + make_interval(secs => :span))
    ON CONFLICT (key) DO UPDATE SET
        next_free = GREATEST(mine.next_free, clock_timestamp()) + make_interval(secs => :span)
    RETURNING EXTRACT(epoch FROM next_free - clock_timestamp())::float8 - :span
    """
)
_LONGEST_S = 1e7
"""Rates are numbers of any size above 0, and PostgreSQL's times end in the year 294276."""


class PaceStore:
    """Both methods are one short transaction and raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, key: str, items: int, items_per_second: float) -> float:
        """Reserves the time of `items` at this rate, behind all earlier reservations; returns the seconds to wait."""
        with self._database.begin() as connection:
            span_s = min(items / items_per_second, _LONGEST_S)
            wait_s = connection.execute(_RESERVE, {"key": key, "span": span_s}).scalar_one()
            return max(0.0, float(wait_s))

    def hold(self, key: str, seconds: float) -> None:
        """Nobody sends for so long; a longer hold that is set already stays."""
        with self._database.begin() as connection:
            connection.execute(
                text(
                    """
                    INSERT INTO pace AS mine (key, next_free, hold_until)
                    VALUES (:key, now(), now() + make_interval(secs => :seconds))
                    ON CONFLICT (key) DO UPDATE SET hold_until = GREATEST(mine.hold_until, EXCLUDED.hold_until)
                    """
                ),
                {"key": key, "seconds": min(seconds, _LONGEST_S)},
            )

    def held_for(self, key: str) -> float:
        """Seconds until the hold ends; 0 if there is none."""
        with self._database.begin() as connection:
            query = text("SELECT EXTRACT(epoch FROM hold_until - now())::float8 FROM pace WHERE key = :key")
            return max(0.0, connection.execute(query, {"key": key}).scalar() or 0.0)
