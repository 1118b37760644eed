"""Up to which classification a grant lets rows through."""

from alembic import op

revision = "0007"
down_revision = "0006"
readable_from = "0.2.0"

STATEMENTS = (
    """
    ALTER TABLE access_grant
        ADD COLUMN ceiling text NOT NULL DEFAULT '',
        DROP CONSTRAINT access_grant_principal_group_name_role_scope_key,
        ADD CONSTRAINT access_grant_once UNIQUE (principal, group_name, role, scope, ceiling)
    """,
)


def upgrade() -> None:
    """Adds a column with a default, so that no row is rewritten; a grant with another ceiling is another grant."""
    for statement in STATEMENTS:
        op.execute(statement)
