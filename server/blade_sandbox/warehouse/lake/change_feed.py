"""Change data feeds: the rows that each version of a table brought and took, which table_changes() reads.

Change rows are kept as they happen, beside the table and apart from its versions: to read those of a version costs what
that version changed, whatever the size of the table. They go from the oldest on, as a VACUUM takes them, when there are
too many. A table's change rows are in one place as long as its columns are the same or only more.
"""

# ruff: noqa: S608 - names are quoted identifiers, values are bound
from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import duckdb
import pyarrow as pa

from blade_sandbox.warehouse.errors import SqlError
from blade_sandbox.warehouse.lake.table_metadata import CHANGE_FEED
from blade_sandbox.warehouse.lake.table_names import TableName, identifier

CHANGES_SCHEMA = ".changes"
CHANGE_COLUMNS = ("_change_type", "_commit_version", "_commit_timestamp")
KEEP_ROWS = 1_000_000
"""So many change rows are kept of a table."""

_SCHEMA = identifier(CHANGES_SCHEMA)
_LOG = f"{_SCHEMA}.log"
_OF_TABLE = "catalog = ? AND schema = ? AND name = ?"


@dataclass(frozen=True, kw_only=True)
class ChangeRows:
    """Where the change rows of one version are put, before and after its steps."""

    table: TableName
    version: int
    at: datetime.datetime
    place: str

    def add(
        self, cursor: duckdb.DuckDBPyConnection, kind: str, rows: str, values: Mapping[str, Any] | None = None
    ) -> None:
        """The rows of a SELECT, as changes of this kind."""
        self._insert(cursor, f"'{kind}', {{meta}}, * FROM ({rows})", values)

    def add_all(self, cursor: duckdb.DuckDBPyConnection, kind: str) -> bool:
        """All rows of the table as it is now. False, and none of them, if they are too many to be kept."""
        (count,) = cursor.execute(f"SELECT count(*) FROM {self.table.sql}").fetchall()[0]
        if count <= KEEP_ROWS:
            self.add(cursor, kind, f"SELECT * FROM {self.table.sql}")
        return bool(count <= KEEP_ROWS)

    def add_returned(self, cursor: duckdb.DuckDBPyConnection, kind: str, rows: pa.Table) -> None:
        """What a statement returned; with no kind, its first column is the action of a MERGE."""
        cursor.register("returned", rows)
        if kind:
            self.add(cursor, kind, "FROM returned")
        else:
            action = identifier(rows.column_names[0])
            kinds = f"CASE {action} WHEN 'INSERT' THEN 'insert' WHEN 'DELETE' THEN 'delete' ELSE 'update_postimage' END"
            self._insert(cursor, f"{kinds}, {{meta}}, * EXCLUDE ({action}) FROM returned")
        cursor.unregister("returned")

    def _insert(self, cursor: duckdb.DuckDBPyConnection, select: str, values: Mapping[str, Any] | None = None) -> None:
        """``{meta}`` in it stands for version and time."""
        meta = f"{self.version}, TIMESTAMPTZ '{self.at.isoformat()}'"
        into = f"{_SCHEMA}.{identifier(self.place)}"
        cursor.execute(f"INSERT INTO {into} SELECT {select.replace('{meta}', meta, 1)}", values or None)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The change rows of a range of versions: the table in CHANGES_SCHEMA, and the columns of the rows."""

    place: str
    columns: list[str]


class ChangeFeed:
    """The change rows of all tables, and which versions have any."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {_LOG} (catalog VARCHAR, schema VARCHAR, name VARCHAR,"
            " version BIGINT, place VARCHAR, rows BIGINT, kept BOOLEAN)"
        )

    def open(
        self, cursor: duckdb.DuckDBPyConnection, name: TableName, version: int, at: datetime.datetime
    ) -> ChangeRows:
        """Where to put the change rows of a version, for the columns that the table has now."""
        columns = _columns(cursor, name.sql)
        found = cursor.execute(
            f"SELECT place FROM {_LOG} WHERE {_OF_TABLE} ORDER BY version DESC LIMIT 1", [*name.parts]
        ).fetchall()
        place: str = found[0][0] if found else ""
        if not place or not _extended(cursor, place, columns):
            place = f"{'.'.join(name.parts)}@{version}"
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.{identifier(place)} AS SELECT '' AS _change_type,"
                f" 0::BIGINT AS _commit_version, now() AS _commit_timestamp, * FROM {name.sql} LIMIT 0"
            )
        return ChangeRows(table=name, version=version, at=at, place=place)

    def close(self, cursor: duckdb.DuckDBPyConnection, changes: ChangeRows, *, complete: bool) -> None:
        """Log that this version has its change rows, and let go of the oldest where there are too many.

        Of a version whose change rows are not complete, only that it had some is kept.
        """
        place, parts = f"{_SCHEMA}.{identifier(changes.place)}", [*changes.table.parts]
        if not complete:
            cursor.execute(f"DELETE FROM {place} WHERE _commit_version = ?", [changes.version])
        counted = cursor.execute(f"SELECT count(*) FROM {place} WHERE _commit_version = ?", [changes.version])
        (rows,) = counted.fetchall()[0]
        cursor.execute(
            f"INSERT INTO {_LOG} VALUES (?, ?, ?, ?, ?, ?, ?)", [*parts, changes.version, changes.place, rows, complete]
        )
        too_many = cursor.execute(
            "SELECT max(version) FROM (SELECT version, kept, sum(rows) OVER (ORDER BY version DESC) AS total"
            f" FROM {_LOG} WHERE {_OF_TABLE}) WHERE kept AND total > ?",
            [*parts, KEEP_ROWS],
        ).fetchall()[0][0]
        if too_many is not None:
            self.vacuumed(cursor, changes.table, too_many)

    def vacuumed(self, cursor: duckdb.DuckDBPyConnection, name: TableName, last: int) -> None:
        """Forget the change rows of all versions up to this one; that there were some is remembered."""
        gone = f"{_OF_TABLE} AND version <= ? AND kept"
        for (place,) in cursor.execute(
            f"SELECT DISTINCT place FROM {_LOG} WHERE {gone}", [*name.parts, last]
        ).fetchall():
            cursor.execute(f"DELETE FROM {_SCHEMA}.{identifier(place)} WHERE _commit_version <= ?", [last])
        cursor.execute(f"UPDATE {_LOG} SET kept = FALSE WHERE {gone}", [*name.parts, last])

    def dropped(self, cursor: duckdb.DuckDBPyConnection, name: TableName) -> None:
        """Forget a table with all its change rows."""
        parts = [*name.parts]
        for (place,) in cursor.execute(f"SELECT DISTINCT place FROM {_LOG} WHERE {_OF_TABLE}", parts).fetchall():
            cursor.execute(f"DROP TABLE IF EXISTS {_SCHEMA}.{identifier(place)}")
        cursor.execute(f"DELETE FROM {_LOG} WHERE {_OF_TABLE}", parts)

    def recorded(self, cursor: duckdb.DuckDBPyConnection, name: TableName, version: int) -> bool:
        """The feed was on as of this version."""
        found = cursor.execute(f"SELECT 1 FROM {_LOG} WHERE {_OF_TABLE} AND version = ?", [*name.parts, version])
        return bool(found.fetchall())

    def changes(self, cursor: duckdb.DuckDBPyConnection, name: TableName, first: int, last: int) -> Changes:
        """The change rows of versions that exist, both ends included.

        Raises:
            SqlError: of one of them none were recorded, or they are gone, or the columns changed in between.
        """
        found = cursor.execute(
            f"SELECT version, place, kept FROM {_LOG} WHERE {_OF_TABLE} AND version BETWEEN ? AND ? ORDER BY version",
            [*name.parts, first, last],
        ).fetchall()
        for expected, (version, _, _) in enumerate(found, first):
            if version != expected:
                raise _not_recorded(first, last, expected)
        if len(found) <= last - first:
            raise _not_recorded(first, last, first + len(found))
        place = found[-1][1]
        for before, after in pairwise(found):
            if before[1] != after[1]:
                raise _columns_changed(first, last, after[0])
        for version, _, kept in found:
            if not kept:
                raise _gone(place, version)
        names = [column for column, _ in _columns(cursor, f"{_SCHEMA}.{identifier(place)}")]
        return Changes(place=place, columns=names[len(CHANGE_COLUMNS) :])


def _columns(cursor: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[str, str]]:
    """Names and types."""
    cursor.execute(f"SELECT * FROM {relation} LIMIT 0")
    return [(column[0], str(column[1])) for column in cursor.description or ()]


def _extended(cursor: duckdb.DuckDBPyConnection, place: str, columns: list[tuple[str, str]]) -> bool:
    """The place has these columns, or has them now because they were only more."""
    there = _columns(cursor, f"{_SCHEMA}.{identifier(place)}")[len(CHANGE_COLUMNS) :]
    if columns[: len(there)] != there:
        return False
    for column, kind in columns[len(there) :]:
        cursor.execute(f"ALTER TABLE {_SCHEMA}.{identifier(place)} ADD COLUMN {identifier(column)} {kind}")
    return True


def _not_recorded(first: int, last: int, version: int) -> SqlError:
    return SqlError(
        "DELTA_MISSING_CHANGE_DATA",
        "KD002",
        f"Error getting change data for range [{first} , {last}] as change data was not\nrecorded for version "
        f"[{version}]. If you've enabled change data feed on this table,\nuse `DESCRIBE HISTORY` to see when it was "
        "first enabled.\nOtherwise, to start recording change data, use `ALTER TABLE table_name SET TBLPROPERTIES\n"
        f"({CHANGE_FEED}=true)`.",
    )


def _gone(place: str, version: int) -> SqlError:
    return SqlError(
        "DELTA_CHANGE_DATA_FILE_NOT_FOUND",
        "42K03",
        f"File _change_data/{place}/{version}.parquet referenced in the transaction log cannot be found. This can "
        "occur when data has been manually deleted from the file system rather than using the table `DELETE` "
        "statement. This request appears to be targeting Change Data Feed, if that is the case, this error can occur "
        "when the change data file is out of the retention period and has been deleted by the `VACUUM` statement.",
    )


def _columns_changed(first: int, last: int, version: int) -> SqlError:
    return SqlError(
        "DELTA_CHANGE_DATA_FEED_INCOMPATIBLE_SCHEMA_CHANGE",
        "0AKDC",
        f"Retrieving table changes between version {first} and {last} failed because of an incompatible schema "
        f"change.\nWe found an incompatible schema change at version {version}.\nIf possible, please query table "
        f"changes separately from version {first} to {version - 1}, and from version {version} to {last}.",
    )
