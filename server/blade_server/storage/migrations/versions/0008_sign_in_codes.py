"""Codes with which `blade open` opens the page, of any server on the same database."""

from alembic import op

revision = "0008"
down_revision = "0007"
readable_from = "0.2.0"

STATEMENTS = (
    """
    CREATE TABLE sign_in_code (
        hash bytea PRIMARY KEY,
        principal text NOT NULL,
        kind text NOT NULL,
        groups jsonb NOT NULL DEFAULT '[]',
        token_id text NOT NULL DEFAULT '',
        session_expire_time timestamptz,
        expire_time timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ix_sign_in_code_expire_time ON sign_in_code (expire_time)",
)


def upgrade() -> None:
    """Makes a table."""
    for statement in STATEMENTS:
        op.execute(statement)
