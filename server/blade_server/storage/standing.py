"""How all jobs, syncs and notifications stand, of all servers together, for the metrics: read now and then."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from blade_server.storage import connect
from blade_server.storage.connect import Target

FRESH_S = 5.0
"""What was read so short a time ago is not read again."""
TIMEOUT_S = 2.0
_MAX_SYNCS = 5000
OVERDUE_S = 60.0
"""A due time that no server has looked at for so long is late."""

_BEGIN = "BEGIN READ ONLY"
_QUESTION = f"""
SET LOCAL statement_timeout = {round(TIMEOUT_S * 1000)};
SELECT
    (SELECT json_object_agg(status, jobs) FROM (
        SELECT status, count(*) AS jobs FROM job WHERE status IN ('PENDING', 'RUNNING', 'PAUSED') GROUP BY status
    ) AS found) AS jobs,
    (SELECT extract(epoch FROM clock_timestamp() - min(create_time))::float8 FROM job
        WHERE status IN ('PENDING', 'RUNNING', 'PAUSED') AND status = 'PENDING') AS oldest_pending_s,
    (SELECT json_object_agg(state, messages) FROM (
        SELECT state, count(*) AS messages FROM outbox WHERE state IN ('WAITING', 'DEAD') GROUP BY state
    ) AS found) AS messages,
    (SELECT json_agg(found) FROM (
        SELECT name,
            CASE WHEN NOT paused
                 THEN extract(epoch FROM clock_timestamp() - last_success_time)::float8 END AS success_age_s,
            NOT paused AND (
                coalesce(next_due < clock_timestamp() - make_interval(secs => {OVERDUE_S}), false)
                OR coalesce((spec ->> 'max_age_s')::float8 > 0 AND clock_timestamp()
                    > coalesce(last_success_time, create_time) + make_interval(secs => (spec ->> 'max_age_s')::float8),
                    false)
                OR coalesce((SELECT outcome = 'MISSED' FROM sync_fire WHERE sync_fire.sync = sync.name
                             ORDER BY due_time DESC LIMIT 1), false)
            ) AS late,
            coalesce((SELECT (job.report #>> '{{counts,withheld}}')::bigint FROM job
                      WHERE job.sync = sync.name AND job.sync <> '' AND job.writes AND job.end_time IS NOT NULL
                        AND job.create_time >= sync.create_time
                      ORDER BY job.create_time DESC LIMIT 1), 0) AS withheld
        FROM sync ORDER BY name LIMIT {_MAX_SYNCS}
    ) AS found) AS syncs
"""  # noqa: S608 - from this file


@dataclass(frozen=True, kw_only=True)
class SyncStanding:
    """`success_age_s`: since its last run that succeeded; None: there was none, or it is paused. `late`: a due time was
    missed or is over, or the last success is longer ago than it may be. `withheld`: deletes, by its last run.
    """

    name: str
    success_age_s: float | None
    late: bool
    withheld: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """`jobs` by status, those that are not final; `messages` by state, WAITING and DEAD; seconds the oldest PENDING job
    has waited, 0 if there is none.
    """

    jobs: Mapping[str, int] = field(default_factory=dict)
    oldest_pending_s: float = 0.0
    messages: Mapping[str, int] = field(default_factory=dict)
    syncs: Sequence[SyncStanding] = ()


class StandingReader:
    """Thread-safe. It holds no connection between two readings."""

    def __init__(self, target: Target | str) -> None:
        """Connects to nothing yet."""
        self._target = Target.of(target)
        self._thread = ThreadPoolExecutor(1, "standing")
        self._reading: Future[Standing] | None = None
        self._begun_s = 0.0

    def now(self) -> Standing | None:
        """At most `FRESH_S` old. None: PostgreSQL gave no answer within `TIMEOUT_S`. Blocks no longer than that."""
        now_s = time.monotonic()
        reading = self._reading
        if reading is None or (reading.done() and now_s - self._begun_s >= FRESH_S):
            self._begun_s = now_s
            reading = self._reading = self._thread.submit(self._read)
        try:
            return reading.result(TIMEOUT_S)
        except (psycopg2.Error, OSError, TimeoutError):
            return None

    def close(self) -> None:
        """Reads no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _read(self) -> Standing:
        in_time = connect.within(TIMEOUT_S)
        set_first, values = connect.local_settings(self._target)
        connection: Any = connect.asynchronous(self._target, in_time, name="blade-metrics")
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"{_BEGIN}; {set_first}; {_QUESTION}", values)
                connect.finish(connection, in_time)
                jobs, oldest_pending_s, messages, syncs = cursor.fetchone()
                cursor.execute("COMMIT")  # or a pooler closes what is behind the connection, too
                connect.finish(connection, in_time)
        finally:
            connection.close()
        return Standing(
            jobs=jobs or {},
            oldest_pending_s=oldest_pending_s or 0.0,
            messages=messages or {},
            syncs=[SyncStanding(**sync) for sync in syncs or ()],
        )
