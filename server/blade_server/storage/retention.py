"""Deletes what nobody needs any more: ledgers of jobs that ended, jobs that ended long ago, sessions that are over.

Unlike for all else about jobs, nobody waits for this. Every step is one short transaction over at most SLICE rows, and
only one replica at a time takes one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from blade_server.model.access import SESSION_IDLE_S
from blade_server.model.cost import KEPT
from blade_server.storage.database import Database, lock
from blade_server.storage.engine.witness import KEPT_S

PRUNE_LOCK = 0x424C4144455052
_TRY = text(f"SELECT pg_try_advisory_xact_lock({lock()})")
SLICE = 10_000
"""Most rows of one deletion: half a second, also with the largest errors."""
JOBS_AT_ONCE = 100
FIRES_KEPT_S = 30 * 86400.0
MESSAGES_KEPT_S = 7 * 86400.0
MESSAGES_KEPT = 1000
"""Of one sync to one receiver, besides those that wait."""

_ENDED_WITH_LEDGER = text(
    """
    SELECT job_id FROM job WHERE end_time IS NOT NULL AND ledger_kept
      -- What the ledger of a run says goes into what its sync knows first.
      AND (folded OR NOT EXISTS (SELECT FROM sync WHERE name = job.sync AND create_time <= job.create_time))
    ORDER BY end_time LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)

_OUTLIVED = text(
    """
    SELECT job_id FROM job
    WHERE end_time < now() - make_interval(secs => :age)
      AND (folded OR NOT EXISTS (SELECT FROM sync WHERE name = job.sync AND create_time <= job.create_time))
      -- A retry takes its items from the errors of its parent.
      AND NOT EXISTS (SELECT FROM job AS child
                      WHERE child.parent_job_id = job.job_id AND child.parent_job_id <> '' AND child.end_time IS NULL)
    ORDER BY end_time LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)

QUIET_KEPT_S = 24 * 3600.0
QUIET_KEPT = 100

_QUIET = text(
    """
    SELECT old.job_id
    FROM sync
    CROSS JOIN LATERAL (
        SELECT create_time FROM job
        WHERE job.sync = sync.name AND job.sync <> '' AND writes AND end_time IS NOT NULL
        ORDER BY create_time DESC OFFSET :runs LIMIT 1
    ) AS bound
    CROSS JOIN LATERAL (
        SELECT job_id FROM job
        WHERE job.sync = sync.name AND job.sync <> '' AND writes AND end_time < now() - make_interval(secs => :age)
          AND create_time <= bound.create_time AND kind = 'SYNC' AND status = 'COMPLETED' AND folded
          AND error_count = 0
          AND (SELECT sum(value::bigint) FROM jsonb_each_text(report -> 'counts') WHERE key <> 'unchanged') = 0
        ORDER BY create_time LIMIT :limit
    ) AS old
    LIMIT :limit
    """
)


class Retention:
    """Each method is one transaction and raises StorageUnavailable; jobs are left to the one replica that is at it."""

    def __init__(self, database: Database, *, slice_rows: int = SLICE) -> None:
        self._database = database
        self._slice = slice_rows

    def drop_ledgers(self) -> bool:
        """Deletes a slice of the ledgers of final jobs. True if there may be more."""
        with self._database.begin() as connection:
            ended = self._jobs(connection, _ENDED_WITH_LEDGER)
            if not ended:
                return False
            if self._cut(connection, "job_block", ended):
                return True
            connection.execute(
                text("UPDATE job SET ledger_kept = false WHERE job_id = ANY(:job_ids)"), {"job_ids": ended}
            )
            return True

    def prune(self, *, older_than_s: float) -> bool:
        """Deletes a slice of the jobs that ended so long ago, or of what hangs on them. True if there may be more.

        A job whose retry is not final is kept. From the first slice on a job has no summaries of its errors, so that it
        cannot be retried with a part of them.
        """
        with self._database.begin() as connection:
            return self._delete(connection, self._jobs(connection, _OUTLIVED, age=older_than_s))

    def prune_quiet_runs(self) -> bool:
        """As `prune`, of the runs of syncs that changed nothing: beyond a day, and the last 100 of each sync."""
        with self._database.begin() as connection:
            return self._delete(connection, self._jobs(connection, _QUIET, age=QUIET_KEPT_S, runs=QUIET_KEPT))

    def _delete(self, connection: Connection, job_ids: list[str]) -> bool:
        if not job_ids:
            return False
        jobs = {"job_ids": job_ids}
        connection.execute(text("DELETE FROM job_error_count WHERE job_id = ANY(:job_ids)"), jobs)
        for table in ("job_item_error", "job_block", "job_event", "sync_change"):
            if self._cut(connection, table, job_ids):
                return True
        connection.execute(text("DELETE FROM job WHERE job_id = ANY(:job_ids)"), jobs)
        return True

    def forget_servers(self) -> None:
        """Deletes the counts of servers that are long gone."""
        with self._database.begin() as connection:
            gone = text("DELETE FROM server WHERE beat_time < now() - make_interval(secs => :kept)")
            connection.execute(gone, {"kept": KEPT_S})

    def forget_sessions(self) -> None:
        """Deletes the sessions that are over, and the codes that would have opened one."""
        over = text(
            "DELETE FROM web_session WHERE expire_time < now() OR use_time < now() - make_interval(secs => :idle)"
        )
        with self._database.begin() as connection:
            connection.execute(over, {"idle": SESSION_IDLE_S})
            connection.execute(text("DELETE FROM sign_in_code WHERE expire_time < now()"))

    def forget_costs(self) -> None:
        """Deletes what sources took on days that are long past."""
        with self._database.begin() as connection:
            past = text("DELETE FROM source_cost WHERE day < current_date - CAST(:kept AS int)")
            connection.execute(past, {"kept": KEPT.days})

    def forget_fires(self) -> bool:
        """Deletes a slice of what is known of due times of long ago. True if there may be more."""
        return self._forget("sync_fire", "time", FIRES_KEPT_S)

    def forget_messages(self) -> bool:
        """Deletes a slice of the messages that were delivered or given up long ago. True if there may be more."""
        return self._forget("outbox", "end_time", MESSAGES_KEPT_S)

    def thin_messages(self) -> bool:
        """Deletes a slice of the messages that have newer ones of the same sync to the same receiver, too many of them,
        wherever they were delivered or given up. True if there may be more.
        """
        surplus = text(
            """
            DELETE FROM outbox WHERE seq = ANY(ARRAY(
                SELECT seq FROM (SELECT seq, row_number() OVER (PARTITION BY sync, notification ORDER BY seq DESC)
                                 AS place FROM outbox WHERE end_time IS NOT NULL) AS ended
                WHERE place > :kept LIMIT :slice))
            """
        )
        with self._database.begin() as connection:
            return connection.execute(surplus, {"kept": MESSAGES_KEPT, "slice": self._slice}).rowcount == self._slice

    def _forget(self, table: str, time: str, kept_s: float) -> bool:
        past = text(
            f"""
            DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {table} WHERE {time} < now() - make_interval(secs => :kept_s) LIMIT :slice))
            """  # noqa: S608 - names from this file
        )
        with self._database.begin() as connection:
            return connection.execute(past, {"kept_s": kept_s, "slice": self._slice}).rowcount == self._slice

    def _jobs(self, connection: Connection, query: Any, **values: float) -> list[str]:
        """The next jobs, locked; none if another replica is at it."""
        if not connection.execute(_TRY, {"lock": PRUNE_LOCK}).scalar_one():
            return []
        return [row.job_id for row in connection.execute(query, {**values, "limit": JOBS_AT_ONCE})]

    def _cut(self, connection: Connection, table: str, job_ids: list[str]) -> bool:
        """Deletes a slice of these jobs' rows; whether that was a full one."""
        deleted = connection.execute(
            text(
                f"""
                DELETE FROM {table} WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM {table} WHERE job_id = ANY(:job_ids) LIMIT :slice))
                """  # noqa: S608 - names from this file
            ),
            {"job_ids": job_ids, "slice": self._slice},
        )
        return deleted.rowcount == self._slice
