"""Brings the tables up to date at start, by one of many replicas; the others wait."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from blade_server.errors import StorageUnavailable
from blade_server.storage import connect

log = logging.getLogger(__name__)

LOCK = 0x424C414445  # "BLADE"
_START_PATIENCE_S = 30.0
_NOT_READY = ("is starting up", "in recovery mode", "is not yet accepting", "too many clients", "remaining connection")


def migrate(url: str, *, timeout_s: float = 60.0) -> None:
    """Runs the migrations that are missing. Safe to call from any number of replicas at once.

    Waits for a free lock by trying again and again: a blocking pg_advisory_lock together with CREATE INDEX CONCURRENTLY
    in another replica waits for ever. Raises StorageUnavailable if PostgreSQL does not answer or the lock stays taken.
    """
    engine = connect.engine(url, short=False, poolclass=NullPool)
    try:
        with _connected(engine) as connection:
            _take_lock(connection, timeout_s)
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            # Handed over as an object: a URL with %2F would break the ini parser.
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except OperationalError as exc:
        place = engine.url.render_as_string(hide_password=True)
        log.warning("PostgreSQL at %s: %s", place, exc)
        raise StorageUnavailable(
            f"PostgreSQL at {place} does not answer; check DATABASE_URL and that the server runs"
        ) from exc
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
