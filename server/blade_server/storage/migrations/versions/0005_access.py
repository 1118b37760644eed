"""Who may do what: tokens, grants, sessions of the page, and who started a job.

A token's own words are not kept, only their SHA-256: they are 32 random bytes, which no list of hashes covers.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
readable_from = "0.2.0"

STATEMENTS = (
    """
    CREATE TABLE access_token (
        token_id text COLLATE "C" PRIMARY KEY,
        principal text NOT NULL,
        kind text NOT NULL DEFAULT 'token' CHECK (kind IN ('token', 'admin')),
        hash bytea NOT NULL,
        description text NOT NULL DEFAULT '',
        created_by text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL,
        expire_time timestamptz,
        last_use_time timestamptz,
        revoke_time timestamptz
    )
    """,
    "CREATE INDEX ix_access_token_principal ON access_token (principal)",
    """
    CREATE TABLE access_grant (
        grant_id text COLLATE "C" PRIMARY KEY,
        principal text NOT NULL DEFAULT '',
        group_name text NOT NULL DEFAULT '',
        role text NOT NULL CHECK (role IN ('VIEWER', 'READER', 'OPERATOR', 'EDITOR', 'ADMIN', 'AUDITOR')),
        scope text NOT NULL,
        created_by text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL,
        CHECK ((principal = '') <> (group_name = '')),
        UNIQUE (principal, group_name, role, scope)
    )
    """,
    "CREATE INDEX ix_access_grant_group ON access_grant (group_name) WHERE group_name <> ''",
    """
    CREATE TABLE web_session (
        hash bytea PRIMARY KEY,
        principal text NOT NULL,
        kind text NOT NULL,
        groups jsonb NOT NULL DEFAULT '[]',
        token_id text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL,
        use_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL
    )
    """,
    "CREATE INDEX ix_web_session_expire_time ON web_session (expire_time)",
    "ALTER TABLE job ADD COLUMN starter text NOT NULL DEFAULT ''",
)


def upgrade() -> None:
    """Makes three tables and adds a column with a default, so that no row is rewritten."""
    for statement in STATEMENTS:
        op.execute(statement)
