"""What is done once the database turns out to be older than the work."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, text, update

from blade_server.storage import tables
from blade_server.storage.connect import Target
from blade_server.storage.database import BELL, Database
from blade_server.storage.jobs.rows import ring_queue

log = logging.getLogger(__name__)

_DOUBT = text(
    f"""
    WITH open AS (
        UPDATE job SET doubtful = true, owner = NULL, lease_until = NULL, revision = revision + 1, update_time = now(),
            items_per_second = 0, estimated_completion = NULL,
            current_operation = CASE status WHEN 'RUNNING' THEN 'Waiting for a server' ELSE current_operation END,
            wait_reason = CASE status WHEN 'RUNNING' THEN 'QUEUED' ELSE wait_reason END,
            wait_detail = CASE status WHEN 'RUNNING' THEN 'the database was put back' ELSE wait_detail END
        WHERE status IN ('PENDING', 'RUNNING', 'PAUSED') RETURNING job_id
    )
    SELECT pg_notify({BELL}, job_id) FROM open
    """  # noqa: S608 - from this room
)


def doubt_open_jobs(connection: Connection, why: str) -> int:
    """Takes every open job from its server: whoever claims it looks up whatever is not recorded before it is sent.

    Returns how many there are.
    """
    jobs = len(connection.execute(_DOUBT).all())
    connection.execute(update(tables.sync).values(doubtful=True))
    ring_queue(connection)
    log.error(
        "the database is older than the work (%s): a backup was restored, or a standby took over that had not heard "
        "everything. In %d open jobs, what is not recorded is looked up in the catalog before it is sent; jobs stored "
        "after that moment are gone",
        why,
        jobs,
    )
    return jobs


def declare_restored(target: Target | str) -> int:
    """An operator says that this is an older state. Returns how many open jobs there are. Raises StorageUnavailable."""
    database = Database(target, pool_size=1)
    try:
        with database.begin() as connection:
            return doubt_open_jobs(connection, "an operator says so")
    finally:
        database.close()
