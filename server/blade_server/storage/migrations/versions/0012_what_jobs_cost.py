"""What jobs and sources take in the warehouse."""

from alembic import op

revision = "0012"
down_revision = "0011"
readable_from = "0.2.0"

STATEMENTS = (
    """
    ALTER TABLE job
        ADD COLUMN statements bigint NOT NULL DEFAULT 0,
        ADD COLUMN warehouse_ms bigint NOT NULL DEFAULT 0,
        ADD COLUMN rows_read bigint NOT NULL DEFAULT 0,
        ADD COLUMN bytes_read bigint NOT NULL DEFAULT 0
    """,
    """
    CREATE TABLE source_cost (
        day date,
        source text COLLATE "C",
        statements bigint NOT NULL DEFAULT 0,
        warehouse_ms bigint NOT NULL DEFAULT 0,
        rows_read bigint NOT NULL DEFAULT 0,
        bytes_read bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (day, source)
    )
    """,
)


def upgrade() -> None:
    """Adds columns with constant defaults, which rewrite nothing, and makes a table."""
    for statement in STATEMENTS:
        op.execute(statement)
