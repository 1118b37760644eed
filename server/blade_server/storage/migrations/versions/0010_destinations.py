"""Destinations: catalogs by name; and which catalog a sync has its items in."""

from alembic import op

revision = "0010"
down_revision = "0009"
readable_from = "0.2.0"

STATEMENTS = (
    """
    CREATE TABLE destination (
        name text COLLATE "C" PRIMARY KEY,
        display_name text NOT NULL DEFAULT '',
        url text NOT NULL DEFAULT '',
        credentials text NOT NULL DEFAULT '',
        ca_file text NOT NULL DEFAULT '',
        items_per_second double precision NOT NULL DEFAULT 0,
        timeout_s double precision NOT NULL DEFAULT 0,
        ceiling text NOT NULL DEFAULT '',
        catalog_id text NOT NULL DEFAULT '',
        etag text NOT NULL DEFAULT '',
        request_id text UNIQUE,
        request_hash text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL
    )
    """,
    # What tells the catalog apart that holds what a sync knows.
    "ALTER TABLE sync ADD COLUMN catalog_id text NOT NULL DEFAULT ''",
)


def upgrade() -> None:
    """Makes a table, and a column with a constant default, which rewrites nothing."""
    for statement in STATEMENTS:
        op.execute(statement)
