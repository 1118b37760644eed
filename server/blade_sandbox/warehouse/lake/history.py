"""Table versions: what DESCRIBE HISTORY lists and VERSION AS OF reads.

The current version of a table is the table itself. Before a write the old content is copied aside (copy on write), if
somebody asked for that version or the table is small, so a reader that holds on to "version 4" keeps seeing version 4
after later writes. A bounded number of copies is kept, those asked for longest.
"""

# ruff: noqa: S608 - names are quoted identifiers, values are bound
from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb

from blade_sandbox.warehouse.errors import SqlError
from blade_sandbox.warehouse.lake.change_feed import ChangeFeed
from blade_sandbox.warehouse.lake.table_metadata import TableMetadata
from blade_sandbox.warehouse.lake.table_names import TableName, identifier

KEEP_VERSIONS = 16
"""Copies of old versions kept for each table."""

KEEP_NEWEST = 4
"""So many of them are the newest, asked for or not: a reader may be about to ask for the version it just saw."""

SMALL_TABLE_ROWS = 100_000
"""Tables up to this size are copied before every write, larger ones only if the version was asked for."""

LARGE_TABLE_ROWS = 1_000_000
KEEP_LARGE = 2
"""Copies kept of a table that is larger than that: each takes as much memory as the table."""

VERSIONS_SCHEMA = ".versions"
_SCHEMA = identifier(VERSIONS_SCHEMA)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One line of DESCRIBE HISTORY; ``timestamp`` in UTC."""

    version: int
    timestamp: datetime.datetime
    operation: str
    kept: bool
    parameters: Mapping[str, str | None] = field(default_factory=dict)


class History:
    """The versions of all tables, stored beside them in the same database.

    Attributes:
        metadata: ids and properties of the tables.
        feed: the change rows of their versions.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.log (catalog VARCHAR, schema VARCHAR, name VARCHAR,"
            " version BIGINT, logged TIMESTAMP, operation VARCHAR, copy VARCHAR)"
        )
        # A database file may be of an older release.
        cursor.execute(f"ALTER TABLE {_SCHEMA}.log ADD COLUMN IF NOT EXISTS parameters VARCHAR")
        self.metadata = TableMetadata(cursor, VERSIONS_SCHEMA)
        self.feed = ChangeFeed(cursor)
        self._asked: set[tuple[TableName, int]] = set()
        self._lock = threading.Lock()

    def versions(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> list[Version]:
        """All versions, newest first. Whoever reads this may come back for the current one, so it will be kept."""
        found = self._log(cursor, name)
        if found:
            self._ask(name, found[0].version)
        return found

    def next(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> tuple[int, datetime.datetime]:
        """Number and time of the version that a write is about to make."""
        found = self._log(cursor, name)
        return found[0].version + 1 if found else 0, datetime.datetime.now(datetime.UTC)

    def created(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: TableName,
        operation: str,
        *,
        properties: Mapping[str, str] | None = None,
        at: datetime.datetime | None = None,
    ) -> None:
        """Log a new table; one that replaces another of its name goes on counting."""
        properties = properties or {}
        self.metadata.created(cursor, name, properties)
        self.written(cursor, name, operation, parameters={"properties": json.dumps(dict(properties))}, at=at)

    def keep(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> None:
        """Copy the current content aside if it may be asked for again; call it before a write."""
        current = self._log(cursor, name)[0].version if self._log(cursor, name) else None
        if current is None:
            return
        with self._lock:
            asked = (name, current) in self._asked
        (rows,) = cursor.execute(f"SELECT count(*) FROM {name.sql}").fetchall()[0]
        if not asked and rows > SMALL_TABLE_ROWS:
            return
        copy = _copy(name, current)
        cursor.execute(f"CREATE OR REPLACE TABLE {_SCHEMA}.{identifier(copy)} AS SELECT * FROM {name.sql}")
        cursor.execute(
            f"UPDATE {_SCHEMA}.log SET copy = ? WHERE catalog = ? AND schema = ? AND name = ? AND version = ?",
            [copy, *name.parts, current],
        )
        self._prune(cursor, name, rows)

    def written(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: TableName,
        operation: str,
        *,
        parameters: Mapping[str, str | None] | None = None,
        at: datetime.datetime | None = None,
    ) -> None:
        """Log a write that has happened; ``at`` is what ``next`` gave."""
        version, now = self.next(cursor, name)
        cursor.execute(
            f"INSERT INTO {_SCHEMA}.log BY NAME SELECT ? AS catalog, ? AS schema, ? AS name, ? AS version,"
            " ? AS logged, ? AS operation, ? AS parameters",
            [*name.parts, version, (at or now).replace(tzinfo=None), operation, json.dumps(dict(parameters or {}))],
        )

    def dropped(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> None:
        """Forget a table with all its versions."""
        with self._lock:
            self._asked = {(owner, version) for owner, version in self._asked if owner != name}
        for copy in self._copies(cursor, name):
            cursor.execute(f"DROP TABLE IF EXISTS {_SCHEMA}.{identifier(copy)}")
        cursor.execute(f"DELETE FROM {_SCHEMA}.log WHERE catalog = ? AND schema = ? AND name = ?", [*name.parts])
        self.feed.dropped(cursor, name)
        self.metadata.dropped(cursor, name)

    def renamed(self, cursor: duckdb.DuckDBPyConnection, name: TableName, new: TableName) -> None:
        """Log a rename; the versions before it are forgotten, with their change rows."""
        self.metadata.renamed(cursor, name, new)
        self.dropped(cursor, name)
        self.written(cursor, new, "RENAME")

    def relation(self, cursor: duckdb.DuckDBPyConnection, name: TableName, version: int) -> tuple[str, str] | None:
        """The copy (DuckDB schema, table) that holds a version; None: the table itself is this version.

        Raises:
            SqlError: there is no such version, or its content was not kept.
        """
        found = self._log(cursor, name)
        latest = found[0].version if found else 0
        self._ask(name, version)
        if version == latest:
            return None
        if any(entry.version == version and entry.kept for entry in found):
            return VERSIONS_SCHEMA, _copy(name, version)
        kept = [entry.version for entry in found if entry.kept] + [latest]
        raise SqlError(
            "DELTA_VERSION_NOT_FOUND",
            "22003",
            f"Cannot time travel Delta table to version {version}. Available versions: [{min(kept)}, {latest}].",
        )

    def latest(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> int:
        """The number of the current version; 0 for a table without a history."""
        found = self._log(cursor, name)
        return found[0].version if found else 0

    def version_at(self, cursor: duckdb.DuckDBPyConnection, name: TableName, at: datetime.datetime) -> int:
        """The version that was current at a time.

        Raises:
            SqlError: the table is younger than that.
        """
        found = self._log(cursor, name)
        for entry in found:
            if entry.timestamp <= at:
                return entry.version
        raise SqlError(
            "DELTA_TIMESTAMP_EARLIER_THAN_COMMIT_RETENTION",
            "42816",
            f"The provided timestamp ({at:%Y-%m-%d %H:%M:%S.%f}) is before the earliest version available to this "
            f"table ({found[-1].timestamp:%Y-%m-%d %H:%M:%S.%f})."
            if found
            else "The table has no versions.",
        )

    def version_since(self, cursor: duckdb.DuckDBPyConnection, name: TableName, at: datetime.datetime) -> int:
        """The first version that is not older than a time.

        Raises:
            SqlError: all of them are.
        """
        self.check_not_after(cursor, name, at)
        return min(entry.version for entry in self._log(cursor, name) if entry.timestamp >= at)

    def check_not_after(self, cursor: duckdb.DuckDBPyConnection, name: TableName, at: datetime.datetime) -> None:
        """Raises SqlError if the current version is older than that."""
        latest = self._log(cursor, name)[0].timestamp
        if at > latest:
            raise SqlError(
                "DELTA_TIMESTAMP_GREATER_THAN_COMMIT",
                "42816",
                f"The provided timestamp ({at:%Y-%m-%d %H:%M:%S.%f}) is after the latest version available to this\n"
                f"table ({'.'.join(name.parts)}). Please use a timestamp before or at {latest:%Y-%m-%d %H:%M:%S.%f}.",
            )

    def vacuumed(self, cursor: duckdb.DuckDBPyConnection, name: TableName, before: datetime.datetime) -> None:
        """Forget the change rows of versions that are older than that."""
        old = [entry.version for entry in self._log(cursor, name) if entry.timestamp <= before]
        if old:
            self.feed.vacuumed(cursor, name, max(old))

    def _ask(self, name: TableName, version: int) -> None:
        with self._lock:
            self._asked.add((name, version))

    def _log(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> list[Version]:
        found = cursor.execute(
            f"SELECT version, epoch_us(logged), operation, copy IS NOT NULL, parameters FROM {_SCHEMA}.log"
            " WHERE catalog = ? AND schema = ? AND name = ? ORDER BY version DESC",
            [*name.parts],
        ).fetchall()
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return [
            Version(
                version=version,
                timestamp=epoch + datetime.timedelta(microseconds=at),
                operation=what,
                kept=kept,
                parameters=json.loads(parameters or "{}"),
            )
            for version, at, what, kept, parameters in found
        ]

    def _copies(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> list[str]:
        found = cursor.execute(
            f"SELECT copy FROM {_SCHEMA}.log WHERE catalog = ? AND schema = ? AND name = ? AND copy IS NOT NULL"
            " ORDER BY version",
            [*name.parts],
        ).fetchall()
        return [copy for (copy,) in found]

    def _prune(self, cursor: duckdb.DuckDBPyConnection, name: TableName, rows: int) -> None:
        copies = self._copies(cursor, name)
        with self._lock:
            asked = {_copy(name, version) for owner, version in self._asked if owner == name}
        newest, most = (1, KEEP_LARGE) if rows > LARGE_TABLE_ROWS else (KEEP_NEWEST, KEEP_VERSIONS)
        by_worth = sorted(copies[:-newest], key=lambda copy: (copy in asked, copies.index(copy)))
        for copy in by_worth[: max(0, len(copies) - most)]:
            cursor.execute(f"DROP TABLE IF EXISTS {_SCHEMA}.{identifier(copy)}")
            cursor.execute(f"UPDATE {_SCHEMA}.log SET copy = NULL WHERE copy = ?", [copy])


def _copy(name: TableName, version: int) -> str:
    return f"{'.'.join(name.parts)}@{version}"
