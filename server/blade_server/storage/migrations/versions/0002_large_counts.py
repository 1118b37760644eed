"""Counts beyond int32, the level of a job, and the index behind the list of jobs that completed with errors.

The wider counts rewrite `job`, once for all of its columns; docs/operations.md says for how long that holds it. First
`job` and then what hangs on it, in the order in which all transactions lock them.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    # Both at once: who waits for the second after the first was rewritten would rewrite it for nothing, and again.
    "LOCK TABLE job, job_error_count IN ACCESS EXCLUSIVE MODE",
    """
    ALTER TABLE job
        ALTER COLUMN total_items TYPE bigint,
        ALTER COLUMN success_count TYPE bigint,
        ALTER COLUMN error_count TYPE bigint,
        ALTER COLUMN skipped_count TYPE bigint,
        ADD COLUMN level smallint NOT NULL DEFAULT 0,
        ADD COLUMN completed_with_errors boolean
            GENERATED ALWAYS AS (status = 'COMPLETED' AND error_count > 0) STORED
    """,
    "CREATE INDEX job_with_errors ON job (job_id) WHERE completed_with_errors",
    "ALTER TABLE job_error_count ALTER COLUMN items TYPE bigint",
)


def upgrade() -> None:
    """Widens the counts and adds the two columns."""
    for statement in STATEMENTS:
        op.execute(statement)
