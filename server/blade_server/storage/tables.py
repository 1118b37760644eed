"""The tables, as SQLAlchemy sees them; the migrations make them, and a test holds the two equal.

A job's life is spread over five tables: `job` (one row: state, counters, lease), `job_block` (the ledger: what was
about to be sent and what became of it, 100 rows or so each), `job_item_error`, `job_error_count` and `job_event` (the
history).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="", **options)


def _count(name: str, kind: type[Integer] = BigInteger) -> Column[int]:
    return Column(name, kind, nullable=False, server_default="0")


def _time(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _cost() -> list[Column[int]]:
    return [_count(name) for name in ("statements", "warehouse_ms", "rows_read", "bytes_read")]


source = Table(
    "source",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    _text("display_name"),
    _text("data_type", index=True),
    Column("enabled", Boolean, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("mapping", JSONB, nullable=False),
    _text("etag"),
    Column("request_id", Text, unique=True),
    _text("request_hash"),
    _count("item_count"),
    _text("last_job_id"),
    _time("last_success_time"),
    # When one of its jobs was claimed last: sources take turns.
    _time("last_claim_time"),
    _time("create_time", nullable=False),
    _time("update_time", nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("job_id", Text(collation="C"), primary_key=True),
    _text("source"),
    _text("data_type"),
    # The source as it was when the job was stored: later changes do not reach into a running job.
    Column("source_json", JSONB, nullable=False),
    Column("spec", JSONB, nullable=False),
    _text("status"),
    Column("pending_action", Text),
    Column("total_items", BigInteger),
    _count("success_count"),
    _count("error_count"),
    _count("skipped_count"),
    _count("bytes_uploaded"),
    # What it took in the warehouse; model.cost.Cost, a column each.
    *_cost(),
    Column("items_per_second", Float, nullable=False, server_default="0"),
    _text("current_operation"),
    _time("estimated_completion"),
    Column("wait_reason", Text),
    _text("wait_detail"),
    Column("error_reason", Text),
    _text("error_message"),
    Column("request_id", Text, unique=True),
    _text("request_hash"),
    _text("parent_job_id"),
    # The statement (with pinned versions from the first claim on), and how many rows it has.
    Column("plan", JSONB, nullable=False),
    Column("owner", Text),
    _count("epoch", Integer),
    # How often in a row its server let the lease run out without having recorded a row.
    _count("deaths", Integer),
    _time("lease_until"),
    # Number of the last recorded commit, so that a commit whose answer was lost is not applied twice.
    _count("last_record"),
    _count("revision"),
    _time("create_time", nullable=False),
    _time("start_time"),
    _time("end_time"),
    _time("update_time", nullable=False),
    _time("pause_time"),
    Column("paused_s", Float, nullable=False, server_default="0"),
    # Whether there may be rows in job_block.
    Column("ledger_kept", Boolean, nullable=False, server_default="true"),
    # What a server must know to run it; see storage/engine/leases.py.
    _count("level", SmallInteger),
    # The principal who started it.
    _text("starter"),
    # The span of the call that stored it, as a traceparent.
    _text("trace"),
    Column("kind", Text, nullable=False, server_default="QUERY"),
    # The sync it belongs to, what it has to do (model.sync.SyncTask) and what it found (SyncReport).
    _text("sync"),
    Column("task", JSONB),
    Column("report", JSONB),
    # A job of a sync: whether it may send or delete; and whether its ledger has gone into what the sync knows.
    Column("writes", Boolean, nullable=False, server_default="false"),
    Column("folded", Boolean, nullable=False, server_default="true"),
    # This database was older than the work once: what it does not record may have been sent all the same.
    Column("doubtful", Boolean, nullable=False, server_default="false"),
    # A column of its own, so that counting errors touches no index.
    Column("completed_with_errors", Boolean, Computed("status = 'COMPLETED' AND error_count > 0", persisted=True)),
    Index("job_open", "create_time", postgresql_where=text("status IN ('PENDING', 'RUNNING', 'PAUSED')")),
    Index("job_by_source", "source", "job_id"),
    Index("job_by_status", "status", "job_id"),
    Index("job_with_errors", "job_id", postgresql_where=text("completed_with_errors")),
    Index("job_by_end", "end_time", postgresql_where=text("end_time IS NOT NULL")),
    Index("job_ledger_left", "end_time", postgresql_where=text("end_time IS NOT NULL AND ledger_kept")),
    Index("job_of_queries", "job_id", postgresql_where=text("kind = 'QUERY'")),
    Index("job_by_sync", "sync", "job_id", postgresql_where=text("sync <> ''")),
    # The last one of a sync; by the time of creation, which no index of all jobs gives.
    Index(
        "job_last_of_sync",
        "sync",
        "create_time",
        postgresql_where=text("sync <> '' AND writes AND end_time IS NOT NULL"),
    ),
    Index(
        "job_one_writer",
        "sync",
        unique=True,
        postgresql_where=text("writes AND status IN ('PENDING', 'RUNNING', 'PAUSED')"),
    ),
    Index("job_not_folded", "sync", postgresql_where=text("NOT folded")),
    Index("job_by_parent", "parent_job_id", postgresql_where=text("parent_job_id <> ''")),
)


source_cost = Table(
    "source_cost",
    metadata,
    # Of UTC. A job stands at the day on which it ended.
    Column("day", Date, primary_key=True),
    # It may be gone by now.
    Column("source", Text(collation="C"), primary_key=True),
    *_cost(),
)


def _job_id() -> Column[str]:
    return Column("job_id", Text(collation="C"), ForeignKey("job.job_id", ondelete="CASCADE"), primary_key=True)


job_block = Table(
    "job_block",
    metadata,
    _job_id(),
    # epoch << 32 | number within the epoch
    Column("block", BigInteger, primary_key=True),
    # 16 bytes for each row, see core/engine/ledger.py
    Column("digests", LargeBinary, nullable=False),
    # one byte for each row, see core/engine/ledger.py
    Column("outcomes", LargeBinary, nullable=False),
    # Of jobs of syncs: 8 bytes for each item, the digest of its content; and the item ids, packed.
    Column("contents", LargeBinary),
    Column("item_ids", LargeBinary),
    # Whether the items are deleted, and not sent.
    Column("deletes", Boolean, nullable=False, server_default="false"),
)

destination = Table(
    "destination",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    _text("display_name"),
    _text("url"),
    # References; never what they lead to.
    _text("credentials"),
    _text("ca_file"),
    Column("items_per_second", Float, nullable=False, server_default="0"),
    Column("timeout_s", Float, nullable=False, server_default="0"),
    _text("ceiling"),
    # What the catalog said last that tells it from others.
    _text("catalog_id"),
    _text("etag"),
    Column("request_id", Text, unique=True),
    _text("request_hash"),
    _time("create_time", nullable=False),
    _time("update_time", nullable=False),
)

sync = Table(
    "sync",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    Column("source", Text(collation="C"), nullable=False, index=True),
    _text("data_type"),
    Column("destination", Text(collation="C"), nullable=False, index=True),
    # Whose items it writes; with an empty scope it is the only sync that does.
    _text("scope"),
    Column("spec", JSONB, nullable=False),
    _text("etag"),
    # model.sync.SyncOwner
    Column("owner", JSONB, nullable=False),
    Column("paused", Boolean, nullable=False, server_default="false"),
    _text("pause_reason"),
    # The next due time, that of which is the schedule's, and what is added to it; see core/schedule.
    _time("next_due"),
    Column("queued", Boolean, nullable=False, server_default="false"),
    # model.sync.SyncState, a column each.
    _count("generation"),
    _count("run_number", Integer),
    _text("watermark"),
    # The Arrow type of the cursor column that it is a value of; empty: it is not known.
    _text("watermark_type"),
    Column("feed_version", BigInteger),
    _text("table_id"),
    # What tells the catalog apart that holds all this; model.destination.Destination.identity.
    _text("catalog_id"),
    _text("key_hash"),
    _time("last_whole_time"),
    _count("known_items"),
    _count("dirty_items"),
    # This database was older than the work once: what is known need not be so.
    Column("doubtful", Boolean, nullable=False, server_default="false"),
    # Until then a request of an earlier run may be at work in the destination.
    _time("unsettled_until"),
    # What happened so far.
    _time("last_success_time"),
    _text("last_job_id"),
    _count("failures", Integer),
    # model.sync.SyncCounts
    Column("totals", JSONB, nullable=False, server_default="{}"),
    Column("late_told", Boolean, nullable=False, server_default="false"),
    Column("request_id", Text, unique=True),
    _text("request_hash"),
    _time("create_time", nullable=False),
    _time("update_time", nullable=False),
    Index("sync_due", "next_due", postgresql_where=text("next_due IS NOT NULL AND NOT paused")),
    Index("sync_queued", "name", postgresql_where=text("queued")),
)


def _sync() -> Column[str]:
    return Column("sync", Text(collation="C"), ForeignKey("sync.name", ondelete="CASCADE"), primary_key=True)


sync_block = Table(
    "sync_block",
    metadata,
    _sync(),
    # The least key that the block may have; those of the next block end it.
    Column("low", LargeBinary, primary_key=True),
    Column("size", Integer, nullable=False),
    # How many of the items have a mark.
    _count("marked", Integer),
    # Ascending, 16 bytes for each item; the others in the same order. See core/engine/sync/state.py.
    Column("keys", LargeBinary, nullable=False),
    Column("contents", LargeBinary, nullable=False),
    Column("runs", LargeBinary, nullable=False),
    Column("marks", LargeBinary, nullable=False),
    Column("item_ids", LargeBinary, nullable=False),
)

sync_missing = Table(
    "sync_missing",
    metadata,
    _sync(),
    Column("key", LargeBinary, primary_key=True),
    Column("item_id", Text, nullable=False),
    # The run over all rows that first did not show it, and the last one; how many in a row did not.
    Column("first_run", Integer, nullable=False),
    _time("first_time", nullable=False),
    Column("last_job_id", Text, nullable=False),
    Column("runs_missed", Integer, nullable=False),
)

sync_run = Table(
    "sync_run",
    metadata,
    _sync(),
    # Those that sent or deleted something, for ever: what an item's run number stands for.
    Column("number", Integer, primary_key=True),
    Column("job_id", Text(collation="C"), nullable=False),
    _time("end_time", nullable=False),
)

sync_change = Table(
    "sync_change",
    metadata,
    _job_id(),
    Column("seq", BigInteger, Identity(), primary_key=True),
    # model.sync.ItemChange: samples of a plan, a verification, withheld deletes.
    _text("kind"),
    _text("item_id"),
    Column("fields", JSONB, nullable=False, server_default="[]"),
    _text("detail"),
)

sync_fire = Table(
    "sync_fire",
    metadata,
    _sync(),
    Column("due_time", DateTime(timezone=True), primary_key=True),
    _text("outcome"),
    _text("job_id"),
    _text("detail"),
    _time("time", nullable=False),
    Index("sync_fire_by_time", "time"),
)

notification = Table(
    "notification",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    # An address, or a reference to one, as `secret` is a reference.
    _text("url"),
    _text("secret"),
    _text("format"),
    # Names of NotificationEvent; none: all of them.
    Column("events", JSONB, nullable=False, server_default="[]"),
    Column("disabled", Boolean, nullable=False, server_default="false"),
    _text("etag"),
    Column("request_id", Text, unique=True),
    _text("request_hash"),
    _time("create_time", nullable=False),
    _time("update_time", nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger, Identity(), primary_key=True),
    # What the receiver knows it by, at each attempt.
    Column("message_id", Text, nullable=False, unique=True),
    Column(
        "notification",
        Text(collation="C"),
        ForeignKey("notification.name", ondelete="CASCADE"),
        nullable=False,
    ),
    _text("sync"),
    _text("event"),
    # Names, counts, job ids, words of reasons: nothing of a row.
    Column("data", JSONB, nullable=False, server_default="{}"),
    Column("state", Text, nullable=False, server_default="WAITING"),
    _count("attempts", Integer),
    _count("status", Integer),
    _text("detail"),
    _time("create_time", nullable=False),
    # While somebody sends it, when he is given up.
    _time("next_attempt_time"),
    _time("end_time"),
    Index("outbox_waiting", "notification", "next_attempt_time", postgresql_where=text("state = 'WAITING'")),
    Index("outbox_by_notification", "notification", "seq"),
    Index("outbox_by_sync", "sync", "seq"),
    Index("outbox_by_end", "end_time", postgresql_where=text("end_time IS NOT NULL")),
)

job_item_error = Table(
    "job_item_error",
    metadata,
    _job_id(),
    Column("seq", BigInteger, Identity(), primary_key=True),
    Column("key", LargeBinary, nullable=False),
    _text("item_id"),
    _text("stage"),
    _text("reason"),
    _text("field"),
    _text("message"),
    Column("attempts", Integer, nullable=False),
    _text("row_json"),
    _time("create_time", nullable=False),
    Column("identical", Boolean, nullable=False, server_default="false"),
    Index("job_item_error_by_reason", "job_id", "reason", "seq"),
)

job_error_count = Table(
    "job_error_count",
    metadata,
    _job_id(),
    Column("reason", Text, primary_key=True),
    _count("items"),
    _count("identical"),
)

job_event = Table(
    "job_event",
    metadata,
    _job_id(),
    Column("seq", BigInteger, Identity(), primary_key=True),
    _text("kind"),
    _time("time", nullable=False),
    _text("actor"),
    _text("reason"),
    _text("detail"),
)

pace = Table(
    "pace",
    metadata,
    # `source:NAME` or `catalog`
    Column("key", Text, primary_key=True),
    # Up to here the items are promised to somebody.
    _time("next_free", nullable=False),
    # Nobody sends before this (Retry-After).
    _time("hold_until"),
)

about = Table(
    "about",
    metadata,
    # Copies of the database (a restored backup, say) have the same one.
    Column("database_id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    # The oldest release that may run on these tables.
    _text("readable_from"),
)

server = Table(
    "server",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    # Raised by that server alone, with each claim and beat; see storage/engine/witness.py.
    Column("beats", BigInteger, nullable=False),
    _time("beat_time", nullable=False),
)

access_token = Table(
    "access_token",
    metadata,
    Column("token_id", Text(collation="C"), primary_key=True),
    Column("principal", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False, server_default="token"),
    # SHA-256 of the whole token.
    Column("hash", LargeBinary, nullable=False),
    _text("description"),
    _text("created_by"),
    _time("create_time", nullable=False),
    _time("expire_time"),
    _time("last_use_time"),
    _time("revoke_time"),
)

access_grant = Table(
    "access_grant",
    metadata,
    Column("grant_id", Text(collation="C"), primary_key=True),
    _text("principal"),
    _text("group_name"),
    Column("role", Text, nullable=False),
    Column("scope", Text, nullable=False),
    _text("created_by"),
    _time("create_time", nullable=False),
    # The highest classification of rows that it lets through; empty: no ceiling.
    _text("ceiling"),
    UniqueConstraint("principal", "group_name", "role", "scope", "ceiling", name="access_grant_once"),
    Index("ix_access_grant_group", "group_name", postgresql_where=text("group_name <> ''")),
)

web_session = Table(
    "web_session",
    metadata,
    # SHA-256 of the id in the cookie.
    Column("hash", LargeBinary, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("groups", JSONB, nullable=False, server_default="[]"),
    _text("token_id"),
    _time("create_time", nullable=False),
    _time("use_time", nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False, index=True),
)

sign_in_code = Table(
    "sign_in_code",
    metadata,
    # SHA-256 of the code.
    Column("hash", LargeBinary, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("groups", JSONB, nullable=False, server_default="[]"),
    _text("token_id"),
    # When the session that it opens ends, if before its time.
    _time("session_expire_time"),
    Column("expire_time", DateTime(timezone=True), nullable=False, index=True),
)


def _told(name: str) -> Column[str]:
    """A member of an entry's JSON."""
    told = Computed(f"content::jsonb ->> '{name}'", persisted=True)
    return Column(name, Text(collation="C"), told, nullable=False)


audit_entry = Table(
    "audit_entry",
    metadata,
    # What the hash is made of, and the columns behind it too; see model/audit.py.
    Column("content", Text(collation="C"), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("number", BigInteger, Computed("(content::jsonb ->> 'number')::bigint", persisted=True), primary_key=True),
    _told("time"),
    _told("principal"),
    _told("method"),
    Column(
        "verb",
        Text(collation="C"),
        Computed("substring(content::jsonb ->> 'method' FROM '[^/]*$')", persisted=True),
        nullable=False,
    ),
    _told("object"),
    _told("outcome"),
    Index("audit_entry_by_time", "time"),
    Index("audit_entry_by_principal", "principal", "number"),
    Index("audit_entry_by_verb", "verb", "number"),
    Index("audit_entry_by_object", "object", "number"),
    Index("audit_entry_by_outcome", "outcome", "number", postgresql_where=text("outcome <> 'DONE'")),
)
