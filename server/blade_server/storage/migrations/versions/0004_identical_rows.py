"""Which rows that repeat an item id repeat the whole row."""

from alembic import op

revision = "0004"
down_revision = "0003"
readable_from = "0.2.0"


def upgrade() -> None:
    """Adds a column to errors and one to their counts; both have a default, so that no row is rewritten."""
    op.execute("ALTER TABLE job_item_error ADD COLUMN identical boolean NOT NULL DEFAULT false")
    op.execute("ALTER TABLE job_error_count ADD COLUMN identical bigint NOT NULL DEFAULT 0")
