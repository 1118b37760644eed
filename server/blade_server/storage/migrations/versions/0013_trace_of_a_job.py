"""In which trace a job was stored, so that it goes on there."""

from alembic import op

revision = "0013"
down_revision = "0012"
readable_from = "0.2.0"


def upgrade() -> None:
    """Adds a column with a default, so that no row is rewritten."""
    op.execute("ALTER TABLE job ADD COLUMN trace text NOT NULL DEFAULT ''")
