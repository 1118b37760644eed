"""The connection pool, and the one place where database errors become ours."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from blade_server.errors import StorageUnavailable
from blade_server.storage import connect
from blade_server.storage.clock import NOW, Clock
from blade_server.storage.connect import Pooling, Target

log = logging.getLogger(__name__)

_SCHEMA = "CASE WHEN current_schema() <> 'public' THEN hashtext(current_schema()::text)::bigint ELSE 0 END"
"""Several BLADEs may be in one database, each in a schema of its own; a number for each. 0: as releases before."""
BELL = f"concat_ws('_', 'blade_job', NULLIF(to_hex({_SCHEMA}), '0'))"
"""SQL for the NOTIFY channel; the payload is a job id. A bell only: what it means is read from the tables."""


def lock(key: str = ":lock") -> str:
    """SQL for the advisory lock of this key in this schema: the low half is the key's, the high one both share."""
    return f"{key} # ({_SCHEMA} << 32)"


LOCKED = f"pg_advisory_xact_lock({lock()})"
"""SQL that takes the lock `:lock` until the transaction ends."""


_TRUSTED_S = 1.0
"""A connection that worked so recently is used without asking PostgreSQL first whether it still does."""
_ONE_OUTAGE_S = 15.0
"""Failures with less time between them are one outage, in which each message is logged once."""
_LEAVE = frozenset({"25006", "25P03"})
"""SQLSTATEs that a new connection may not meet: a server that is read-only (after a failover: the one before it, or a
standby that is not promoted yet), a transaction that was idle too long."""
_AWAY = frozenset({"08", "40", "53", "57", "58"})
"""Classes of SQLSTATEs that say nothing about the statement: connection, rollback, resources, operator, system."""


class Database:
    """A pool of connections to one PostgreSQL. Thread-safe.

    Every error of the connection itself becomes StorageUnavailable (transient); what is wrong with a statement stays
    as it is, because it is a bug.
    """

    def __init__(self, target: Target | str, *, pool_size: int = 16) -> None:
        """Connects to nothing yet. A URL alone is that of a PostgreSQL without a pooler."""
        self.target = Target.of(target)
        self.engine: Engine = connect.engine(
            self.target,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            hide_parameters=True,  # rows of items are among them, and errors end up in logs
        )
        self.generation = 0
        """Raised when the connections so far lead to a server that is not to be used any more."""
        self._waiting: set[int] = set()
        """Threads that wait for a connection."""
        self._failed_at = float("-inf")
        self._told: set[str] = set()
        event.listen(self.engine, "handle_error", self._leave)
        event.listen(self.engine, "checkin", _used)
        event.listen(self.engine, "checkout", self._ping_if_idle)
        self._reading = self.engine
        if self.target.pooling is not Pooling.TRANSACTION:  # there what is set holds within a transaction only
            self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def url(self) -> str:
        """As it was given."""
        return self.target.url

    @property
    def place(self) -> str:
        """Where it is, without password, for people."""
        return self.target.place

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on any exception.

        Raises StorageUnavailable if PostgreSQL cannot be reached, is stopping, takes no writes (a standby that is not
        promoted yet), or broke the connection off; then it is unknown whether a commit under way took place.
        """
        with self._errors_are_ours(), self._connect(self.engine) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for queries, each a transaction of its own: two round trips less. Raises as `begin`.

        With a pooler in transaction mode all of them are one transaction.
        """
        with self._errors_are_ours(), self._connect(self._reading) as connection:
            yield connection

    def _connect(self, engine: Engine) -> Connection:
        me = threading.get_ident()
        self._waiting.add(me)
        try:
            return engine.connect()
        finally:
            self._waiting.discard(me)

    @contextmanager
    def at_one_moment(self) -> Iterator[Connection]:
        """A transaction that reads only, and sees all as it was at its first statement. Raises as `begin`."""
        reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with self._errors_are_ours(), self._connect(reading) as connection, connection.begin():
            yield connection

    @contextmanager
    def _errors_are_ours(self) -> Iterator[None]:
        try:
            yield
        except (InterfaceError, OperationalError, DisconnectionError, PoolTimeoutError) as exc:
            raise self._unavailable(exc) from exc
        except DBAPIError as exc:
            if exc.connection_invalidated or _sqlstate(exc.orig)[:2] in _AWAY:
                raise self._unavailable(exc) from exc
            raise

    def _leave(self, context: ExceptionContext) -> None:
        if _sqlstate(context.original_exception) in _LEAVE:
            context.is_disconnect = True  # the pool lets all connections to this server go
        if context.is_disconnect:
            self.generation += 1

    def _ping_if_idle(self, connection: Any, record: Any, proxy: Any) -> None:
        """As pool_pre_ping, which would cost every transaction a round trip. A dead one is replaced by the pool."""
        if time.monotonic() - record.info.get("used", time.monotonic()) > _TRUSTED_S:
            dialect = self.engine.dialect
            try:
                dialect.do_ping(connection)
            except dialect.loaded_dbapi.Error as exc:
                raise DisconnectionError from exc

    def _unavailable(self, exc: Exception) -> StorageUnavailable:
        now = time.monotonic()
        if now - self._failed_at > _ONE_OUTAGE_S:
            self._told = set()
        self._failed_at = now
        words = _first_line(exc)
        if words not in self._told:
            self._told.add(words)
            log.warning("PostgreSQL at %s: %s", self.place, words)
        return StorageUnavailable(f"PostgreSQL at {self.place} does not answer; the call can be repeated")

    def compare(self, clock: Clock) -> None:
        """Compares the clock of this machine with PostgreSQL's. Raises StorageUnavailable."""
        with self.read() as connection, clock.comparing() as comparison:
            comparison.database_s = connection.execute(text(f"SELECT {NOW}")).scalar_one()

    def max_connections(self) -> int:
        """How many connections PostgreSQL takes from all its users together. Raises StorageUnavailable."""
        with self.read() as connection:
            return int(connection.execute(text("SHOW max_connections")).scalar_one())

    def pool_counts(self) -> tuple[int, int, int]:
        """Connections in use, connections that are idle, and how many wait for one."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedout(), pool.checkedin(), len(self._waiting)

    def close(self) -> None:
        """Lets all connections go."""
        self.engine.dispose()


def _sqlstate(exc: BaseException | None) -> str:
    return getattr(exc, "pgcode", None) or ""


def _first_line(exc: Exception) -> str:
    """The driver's own words, without the statement and without what PostgreSQL adds about rows."""
    cause = (exc.orig if isinstance(exc, DBAPIError) else exc.__cause__) or exc
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)


def _used(connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()
