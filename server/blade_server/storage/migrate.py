"""Brings the tables up to date at start, by one of many replicas; the others wait, and those that run go on."""

from __future__ import annotations

import logging
import re
import time
from importlib.metadata import version
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from blade_server.errors import StorageUnavailable
from blade_server.storage import connect
from blade_server.storage.tables import about

log = logging.getLogger(__name__)

LOCK = 0x424C414445  # "BLADE"
LOCK_TIMEOUT_S = 5
"""A migration waits this long for a table at most: whoever wants the table meanwhile waits behind it."""
_START_PATIENCE_S = 30.0
_BETWEEN_ATTEMPTS_S = 1.0
_IN_USE = frozenset({"55P03", "40P01"})
"""SQLSTATEs of a table that others hold: the lock's time-out, and a deadlock, which the migration lost."""
_NOT_READY = ("is starting up", "in recovery mode", "is not yet accepting", "too many clients", "remaining connection")


class NewerTablesError(RuntimeError):
    """The tables are those of a newer release, beside which this one must not run. One sentence for people."""


def migrate(url: str, *, timeout_s: float = 60.0) -> None:
    """Runs the migrations that are missing. Safe to call from any number of replicas at once.

    Each migration from 0003 on says in `readable_from` which release is the oldest that may run on its tables; the
    highest of these is kept in them. A release that does not know the tables' migration reads it there: from that one
    on it leaves the tables as they are, older ones raise NewerTablesError.

    Waits for a free lock by trying again and again: a blocking pg_advisory_lock together with CREATE INDEX CONCURRENTLY
    in another replica waits for ever. Raises StorageUnavailable if PostgreSQL does not answer, or if that lock or a
    table stays taken for `timeout_s`; then nothing is changed.
    """
    engine = connect.engine(url, short=False, poolclass=NullPool)
    try:
        with _connected(engine) as connection:
            _take_lock(connection, timeout_s)
            config = _config()
            # Handed over as an object: a URL with %2F would break the ini parser.
            config.attributes["connection"] = connection
            if _known(connection, config):
                _upgrade(connection, config, timeout_s)
            else:
                _run_beside(connection)
    except OperationalError as exc:
        place = engine.url.render_as_string(hide_password=True)
        log.warning("PostgreSQL at %s: %s", place, exc)
        words = " ".join(str(exc.orig).split())
        raise StorageUnavailable(
            f"PostgreSQL at {place} does not answer; check DATABASE_URL and that the server runs ({words})"
        ) from exc
    finally:
        engine.dispose()


def missing(url: str) -> list[str]:
    """The migrations that a start would run, the first one first; changes nothing.

    Raises NewerTablesError as `migrate`, and StorageUnavailable.
    """
    engine = connect.engine(url, poolclass=NullPool)
    config = _config()
    try:
        with engine.connect() as connection:
            if not _known(connection, config):
                _run_beside(connection)
                return []
            revision = MigrationContext.configure(connection).get_current_revision()
            scripts = ScriptDirectory.from_config(config).iterate_revisions("head", revision or "base")
            return [script.revision for script in scripts][::-1]
    except OperationalError as exc:
        raise StorageUnavailable(f"PostgreSQL does not answer: {' '.join(str(exc.orig).split())}") from exc
    finally:
        engine.dispose()


def _connected(engine: Engine) -> Connection:
    """A connection; waits for a PostgreSQL that is alive but not ready (just started, recovering, out of places)."""
    deadline = time.monotonic() + _START_PATIENCE_S
    while True:
        try:
            return engine.connect()
        except OperationalError as exc:
            # libpq gives no SQLSTATE for what is refused while connecting: 57P03 and 53300 are known by their words.
            if time.monotonic() > deadline or not any(words in str(exc.orig) for words in _NOT_READY):
                raise
        time.sleep(0.25)


def _take_lock(connection: Connection, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK}).scalar_one():
        connection.rollback()
        if time.monotonic() > deadline:
            raise StorageUnavailable(
                f"another replica has held the migration lock for {timeout_s:.0f} s; look for one that hangs"
            )
        time.sleep(0.1)
    connection.commit()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _known(connection: Connection, config: Config) -> bool:
    """Whether the tables, if there are any, are of a migration that this release has."""
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    return revision is None or revision in {script.revision for script in _scripts(config)}


def _scripts(config: Config) -> list[Script]:
    return list(ScriptDirectory.from_config(config).walk_revisions())


def _run_beside(connection: Connection) -> None:
    """Raises NewerTablesError if this release is too old for it."""
    try:
        readable_from = connection.execute(select(about.c.readable_from)).scalar_one() or "that one"
    except ProgrammingError as exc:
        raise NewerTablesError(
            "the tables in PostgreSQL are of another program; give BLADE a database of its own"
        ) from exc
    connection.rollback()
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


def _upgrade(connection: Connection, config: Config, timeout_s: float) -> None:
    """All that is missing in one transaction, tried again while others hold a table that it changes."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
            command.upgrade(config, "head")
            _note_readable_from(connection, config)
        except OperationalError as exc:
            if getattr(exc.orig, "pgcode", None) not in _IN_USE:
                raise
            connection.rollback()
            if time.monotonic() > deadline:
                raise StorageUnavailable(
                    f"the tables could not be brought up to date: another transaction has held one for {timeout_s:.0f} "
                    "s; let it end (a backup by pg_dump, say), then start again"
                ) from exc
            log.info("a table that is to be brought up to date is in use; trying again")
        else:
            connection.commit()
            return
        time.sleep(_BETWEEN_ATTEMPTS_S)  # those that waited behind this come first
