"""The type of the column that a watermark is a value of; messages by their sync, of which so many wait and no more."""

from alembic import op

revision = "0014"
down_revision = "0013"
readable_from = "0.2.0"


def upgrade() -> None:
    """Of the watermarks that are there the type is not known."""
    op.execute("ALTER TABLE sync ADD COLUMN watermark_type text NOT NULL DEFAULT ''")
    op.execute("CREATE INDEX outbox_by_sync ON outbox (sync, seq)")
