"""Brings the tables up to date at start, by one of many replicas; the others wait, and those that run go on."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, TextClause, select, text, update
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from blade_server.errors import StorageUnavailable
from blade_server.storage import connect
from blade_server.storage.connect import Target
from blade_server.storage.database import lock
from blade_server.storage.probe import in_words, patiently
from blade_server.storage.tables import about, audit_entry, metadata

log = logging.getLogger(__name__)

LOCK = 0x424C414445  # "BLADE"
LOCK_TIMEOUT_S = 5
"""A migration waits this long for a table at most: whoever wants the table meanwhile waits behind it."""
TOLD_AFTER_S = 2.0
"""Who waits so long for a lock says so, and who holds it."""
_IN_USE = frozenset({"55P03", "40P01"})
"""SQLSTATEs of a table that others hold: the lock's time-out, and a deadlock, which the migration lost."""
_KEY = lock(str(LOCK))
_TRY = text(f"SELECT pg_try_advisory_xact_lock({_KEY})")
_HOLDERS = """
    SELECT string_agg(DISTINCT concat_ws(' ', 'process', pid, 'of PostgreSQL,', usename, NULLIF(application_name, ''),
                                         'from ' || client_addr || ',',
                                         'since ' || extract(epoch FROM now() - xact_start)::int || ' s'), '; ')
    FROM pg_locks LEFT JOIN pg_stat_activity USING (pid)
    WHERE granted AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database
                                                              WHERE datname = current_database())
"""
_LOCK_HOLDERS = text(
    f"{_HOLDERS} AND locktype = 'advisory' AND objsubid = 1 AND (classid::bigint << 32) + objid::bigint = ({_KEY})"
)
_TABLE_HOLDERS = text(
    f"{_HOLDERS} AND relation IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS mine (name))"  # noqa: S608
)
_NO_TABLE = "42P01"
_USED = {about.name: ("SELECT", "UPDATE"), audit_entry.name: ("SELECT", "INSERT")}
"""What a server does in tables in which it does not do everything."""
_MISSING_RIGHT = text(
    """
    SELECT name, privilege, quote_ident(current_user) AS role, quote_ident(current_schema()) AS schema
    FROM unnest(CAST(:names AS text[]), CAST(:privileges AS text[])) AS wanted (name, privilege)
    WHERE to_regclass(name) IS NOT NULL AND NOT has_table_privilege(name, privilege)
    ORDER BY name, privilege LIMIT 1
    """
)


@dataclass(frozen=True, kw_only=True)
class _Held:
    """What others hold that a migration needs."""

    what: str
    way_out: str
    holders: TextClause
    pause_s: float


_LOCK = _Held(
    what="the migration lock",
    way_out="another replica has it; look for one that hangs",
    holders=_LOCK_HOLDERS,
    pause_s=0.1,
)
_TABLE = _Held(
    what="a table that is to be brought up to date",
    way_out="let that end (a backup by pg_dump, say), then start again",
    holders=_TABLE_HOLDERS,
    pause_s=1.0,
)


class NewerTablesError(RuntimeError):
    """The tables are those of a newer release, beside which this one must not run. One sentence for people."""


def migrate(target: Target | str, *, timeout_s: float = 60.0) -> None:
    """Runs the migrations that are missing. Safe to call from any number of replicas at once.

    Each migration from 0003 on says in `readable_from` which release is the oldest that may run on its tables; the
    highest of these is kept in them. A release that does not know the tables' migration reads it there: from that one
    on it leaves the tables as they are, older ones raise NewerTablesError.

    All of it, its lock too, is one transaction, so that nothing of it stays at a pooler's backend. Waits for the lock
    by trying again and again. Raises StorageUnavailable, in one sentence, if PostgreSQL does not answer or refuses, or
    if that lock or a table stays taken for `timeout_s`; then nothing is changed.
    """
    target = Target.of(target)
    with in_words(target):
        engine = connect.engine(target, short=False, poolclass=NullPool)
        try:
            with patiently(engine.connect) as connection:
                config = _config()
                # Handed over as an object: a URL with %2F would break the ini parser.
                config.attributes["connection"] = connection
                _bring_up_to_date(connection, config, timeout_s)
                _check_rights(connection, target)
        finally:
            engine.dispose()


def _bring_up_to_date(connection: Connection, config: Config, timeout_s: float) -> None:
    """Tries again while others hold the lock, or a table that it changes."""
    began, told = time.monotonic(), False
    while (held := _attempt(connection, config, TOLD_AFTER_S if not told else LOCK_TIMEOUT_S)) is not None:
        connection.rollback()
        waited_s = time.monotonic() - began
        if waited_s > timeout_s:
            raise StorageUnavailable(
                f"{held.what} has been held for {timeout_s:.0f} s by {_holders(connection, held)}; {held.way_out}"
            )
        if waited_s > TOLD_AFTER_S and not told:
            told = True
            log.warning("%s is in use; trying again until %s ends", held.what, _holders(connection, held))
        time.sleep(held.pause_s)  # those that waited behind this come first
    connection.commit()


def _holders(connection: Connection, held: _Held) -> str:
    with connection.begin():
        found = connection.execute(held.holders, {"tables": list(metadata.tables)} if held is _TABLE else {})
        return found.scalar_one() or "somebody who is gone by now"


def _attempt(connection: Connection, config: Config, lock_timeout_s: float) -> _Held | None:
    """What it has to wait for; None: the tables are up to date once this transaction is committed."""
    if not connection.execute(_TRY).scalar_one():
        return _LOCK
    if not _known(connection, config):
        _run_beside(connection)
        return None
    try:
        lock_timeout_ms = min(lock_timeout_s, LOCK_TIMEOUT_S) * 1000
        connection.execute(text(f"SET LOCAL lock_timeout = '{lock_timeout_ms:.0f}ms'"))
        command.upgrade(config, "head")
        _note_readable_from(connection, config)
    except OperationalError as exc:
        if getattr(exc.orig, "pgcode", None) not in _IN_USE:
            raise
        return _TABLE
    return None


def _check_rights(connection: Connection, target: Target) -> None:
    """Raises StorageUnavailable if this role may not do what a server does."""
    wanted = [
        (name, privilege)
        for name in metadata.tables
        for privilege in _USED.get(name, ("SELECT", "INSERT", "UPDATE", "DELETE"))
    ]
    with connection.begin():
        found = connection.execute(
            _MISSING_RIGHT, {"names": [name for name, _ in wanted], "privileges": [each for _, each in wanted]}
        ).one_or_none()
    if found is not None:
        raise StorageUnavailable(
            f"PostgreSQL at {target.place}: {found.role} may not {found.privilege} in the table {found.name}; as its "
            f"owner: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {found.schema} TO {found.role}"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _known(connection: Connection, config: Config) -> bool:
    """Whether the tables, if there are any, are of a migration that this release has."""
    revision = MigrationContext.configure(connection).get_current_revision()
    return revision is None or revision in {script.revision for script in _scripts(config)}


def _scripts(config: Config) -> list[Script]:
    return list(ScriptDirectory.from_config(config).walk_revisions())


def _run_beside(connection: Connection) -> None:
    """Raises NewerTablesError if this release is too old for it."""
    try:
        readable_from = connection.execute(select(about.c.readable_from)).scalar_one() or "that one"
    except ProgrammingError as exc:
        if getattr(exc.orig, "pgcode", None) != _NO_TABLE:
            raise
        raise NewerTablesError(
            "the tables in PostgreSQL are of another program; give BLADE a database of its own"
        ) from exc
    mine = version("blade")
    if not _parts(readable_from) or _parts(mine) < _parts(readable_from):
        raise NewerTablesError(
            f"the tables in PostgreSQL are of a newer release, beside which {readable_from} and later ones may run; "
            f"this is {mine}: start a newer one, or restore a backup of the tables before"
        )
    log.info("the tables are of a newer release; this one, %s, may run on them and leaves them as they are", mine)


def _parts(release: str) -> tuple[int, ...]:
    """Of a version, as numbers that can be compared."""
    return tuple(int(part) for part in re.findall(r"\d+", release)[:3])


def _note_readable_from(connection: Connection, config: Config) -> None:
    """Whoever comes later with fewer migrations must know: a migration takes back nothing that one before it said."""
    said = [getattr(script.module, "readable_from", "") for script in _scripts(config)]
    highest = max(said, key=_parts)
    connection.execute(update(about).where(about.c.readable_from != highest).values(readable_from=highest))
