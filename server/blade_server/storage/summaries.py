"""Jobs and syncs in numbers and names, for whoever helps from afar: no SQL, no row, no text that may quote one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from blade_server.storage.database import Database

_JOBS = text(
    """
    SELECT job_id, kind, source, sync, status, pending_action, wait_reason, error_reason, total_items, success_count,
           error_count, skipped_count, bytes_uploaded, items_per_second, epoch, deaths, level, doubtful, ledger_kept,
           lease_until, create_time, start_time, end_time, update_time, pause_time,
           (SELECT jsonb_object_agg(reason, items) FROM job_error_count WHERE job_id = job.job_id) AS errors
    FROM job ORDER BY status IN ('PENDING', 'RUNNING', 'PAUSED') DESC, create_time DESC LIMIT :limit
    """
)

_SYNCS = text(
    """
    SELECT name, source, destination, paused, next_due, queued, run_number, known_items, dirty_items, doubtful,
           last_success_time, last_whole_time, last_job_id, failures, unsettled_until, create_time, update_time
    FROM sync ORDER BY name LIMIT :limit
    """
)

_TABLES = text(
    """
    SELECT relname AS name, pg_total_relation_size(pg_class.oid) AS bytes, reltuples::bigint AS about_rows,
           last_autovacuum, last_autoanalyze
    FROM pg_class LEFT JOIN pg_stat_user_tables USING (relname)
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND schemaname = current_schema()
    ORDER BY 2 DESC
    """
)


class Summaries:
    """Lists of plain values. All methods block and raise StorageUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def jobs(self, limit: int) -> list[dict[str, Any]]:
        """Those that are not final first, the newest first."""
        return self._rows(_JOBS, limit=limit)

    def syncs(self, limit: int) -> list[dict[str, Any]]:
        """In the order of their names."""
        return self._rows(_SYNCS, limit=limit)

    def tables(self) -> list[dict[str, Any]]:
        """The largest first."""
        return self._rows(_TABLES)

    def _rows(self, query: Any, **values: Any) -> list[dict[str, Any]]:
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query, values).mappings()]
