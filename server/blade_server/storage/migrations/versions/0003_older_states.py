"""What tells that a database is older than the work, and which releases may run on these tables.

`about` is one row: an id that copies of the database share, and the oldest release that may run beside the newest
migration. `server` counts the signs of life of each server.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
readable_from = "0.2.0"

STATEMENTS = (
    """
    CREATE TABLE about (
        database_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        readable_from text NOT NULL DEFAULT ''
    )
    """,
    "INSERT INTO about DEFAULT VALUES",
    'CREATE TABLE server (name text COLLATE "C" PRIMARY KEY, beats bigint NOT NULL, beat_time timestamptz NOT NULL)',
    "ALTER TABLE job ADD COLUMN doubtful boolean NOT NULL DEFAULT false",
)


def upgrade() -> None:
    """Makes both tables and adds the column."""
    for statement in STATEMENTS:
        op.execute(statement)
