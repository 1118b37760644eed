"""What `blade doctor` asks PostgreSQL. Each method is a few short queries and changes nothing."""

from __future__ import annotations

import time
from typing import NamedTuple

from sqlalchemy import text

from blade_server.storage import tables
from blade_server.storage.clock import NOW
from blade_server.storage.database import Database

_USED = {"about": ("SELECT", "UPDATE"), "audit_entry": ("SELECT", "INSERT")}
"""What a server does in tables in which it does not do everything."""

_MISSING_RIGHTS = text(
    """
    SELECT format('%s on %s', privilege, name)
    FROM unnest(CAST(:names AS text[]), CAST(:privileges AS text[])) AS needed (name, privilege)
    WHERE to_regclass(quote_ident(name)) IS NOT NULL
      AND NOT has_table_privilege(to_regclass(quote_ident(name)), privilege)
    ORDER BY 1
    """
)

_CONNECTIONS = text(
    """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
           nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1),
           nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1)
    """
)


class Server(NamedTuple):
    """Which PostgreSQL it is."""

    version: str
    database: str
    role: str
    takes_writes: bool


class Connections(NamedTuple):
    """How many PostgreSQL takes from this role for this database, and how many there are, of anybody."""

    most: int
    used: int


class Checkup:
    """All methods block, and raise StorageUnavailable if PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def server(self) -> Server:
        """Which one it is."""
        with self._database.read() as connection:
            row = connection.execute(
                text(
                    """
                    SELECT current_setting('server_version'), current_database(), current_user,
                           NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'
                    """
                )
            ).one()
        return Server(*row)

    def missing_rights(self) -> list[str]:
        """What the role may not do and a server does: `DELETE on job`. Tables that are not there are left out."""
        needed = [
            (name, privilege)
            for name in tables.metadata.tables
            for privilege in _USED.get(name, ("SELECT", "INSERT", "UPDATE", "DELETE"))
        ]
        names, privileges = zip(*needed, strict=True)
        with self._database.read() as connection:
            missing = connection.execute(_MISSING_RIGHTS, {"names": list(names), "privileges": list(privileges)})
            return list(missing.scalars())

    def may_create(self) -> bool:
        """Whether the role may make tables, as migrations do."""
        with self._database.read() as connection:
            may = connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')"))
            return bool(may.scalar_one())

    def clock_offset_s(self) -> float:
        """How far this machine's clock is ahead of PostgreSQL's (behind: negative), as far as no wait explains it."""
        with self._database.read() as connection:
            connection.execute(text("SELECT 1"))  # the connection is made before the clocks are read
            asked_s = time.time()
            database_s = float(connection.execute(text(f"SELECT {NOW}")).scalar_one())
            answered_s = time.time()
        return max(asked_s - database_s, 0.0) or min(answered_s - database_s, 0.0)

    def connections(self) -> Connections:
        """The places for connections."""
        with self._database.read() as connection:
            most, used, *limits = connection.execute(_CONNECTIONS).one()
        return Connections(most=min([most, *(limit for limit in limits if limit is not None)]), used=used)
