"""Who did what: the audit log.

All columns but the hash are made from the bytes that it is made of, so that none of them can say something else.
The trigger is no wall against whoever owns the table: it keeps mistakes out, the chain of hashes shows the rest.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
readable_from = "0.2.0"

STATEMENTS = (
    """
    CREATE TABLE audit_entry (
        content text COLLATE "C" NOT NULL,
        hash bytea NOT NULL CHECK (octet_length(hash) = 32),
        number bigint GENERATED ALWAYS AS ((content::jsonb ->> 'number')::bigint) STORED PRIMARY KEY,
        time text COLLATE "C" NOT NULL GENERATED ALWAYS AS (content::jsonb ->> 'time') STORED,
        principal text COLLATE "C" NOT NULL GENERATED ALWAYS AS (content::jsonb ->> 'principal') STORED,
        method text COLLATE "C" NOT NULL GENERATED ALWAYS AS (content::jsonb ->> 'method') STORED,
        -- The last part of `method`.
        verb text COLLATE "C" NOT NULL
            GENERATED ALWAYS AS (substring(content::jsonb ->> 'method' FROM '[^/]*$')) STORED,
        object text COLLATE "C" NOT NULL GENERATED ALWAYS AS (content::jsonb ->> 'object') STORED,
        outcome text COLLATE "C" NOT NULL GENERATED ALWAYS AS (content::jsonb ->> 'outcome') STORED
    )
    """,
    "CREATE INDEX audit_entry_by_time ON audit_entry (time)",
    "CREATE INDEX audit_entry_by_principal ON audit_entry (principal, number)",
    "CREATE INDEX audit_entry_by_verb ON audit_entry (verb, number)",
    "CREATE INDEX audit_entry_by_object ON audit_entry (object, number)",
    "CREATE INDEX audit_entry_by_outcome ON audit_entry (outcome, number) WHERE outcome <> 'DONE'",
    # Lets entries go that the log itself says are pruned; the entry that says so stays.
    """
    CREATE FUNCTION audit_entry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND OLD.number <= (
            SELECT substring(object FROM '^audit:([0-9]{1,18})$')::bigint FROM audit_entry
            WHERE verb = 'blade prune-audit' AND number > OLD.number ORDER BY number DESC LIMIT 1
        ) THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'entries of the audit log are neither changed nor deleted'
            USING HINT = 'blade prune-audit takes whole months out of it';
    END
    $$
    """,
    """
    CREATE TRIGGER audit_entry_stays BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_entry_stays()
    """,
    """
    CREATE TRIGGER audit_log_stays BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_stays()
    """,
    # Also for whoever replays a replication stream.
    "ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_entry_stays",
    "ALTER TABLE audit_entry ENABLE ALWAYS TRIGGER audit_log_stays",
)


def upgrade() -> None:
    """Makes a table."""
    for statement in STATEMENTS:
        op.execute(statement)
