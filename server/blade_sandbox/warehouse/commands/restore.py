"""RESTORE TABLE ... TO an older version: a new version with the rows of that one."""

from __future__ import annotations

from blade_sandbox.warehouse.errors import needs_a_table, syntax_error, unsupported
from blade_sandbox.warehouse.lake.lakehouse import Cursor, Lakehouse
from blade_sandbox.warehouse.lake.table_metadata import CHANGE_FEED
from blade_sandbox.warehouse.lake.table_names import TableName, identifier
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.timestamps import timestamp
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Write

_RESTORED = (
    "table_size_after_restore", "num_of_files_after_restore", "num_removed_files", "num_restored_files",
    "removed_files_size", "restored_files_size",
)  # fmt: skip


def restore(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Write:
    """RESTORE [TABLE] table TO VERSION AS OF n | TO TIMESTAMP AS OF 't': one row that tells of no files.

    The change data feed is on afterwards if it was on as of that version.

    Raises:
        SqlError: wrong syntax, no such table or version, or one of other columns.
    """
    reader.accept("TABLE")
    table = session.full_name(reader.name())
    reader.accept("TO")
    cursor = lakehouse.cursor()
    try:
        if lakehouse.require_table(table).kind == "VIEW":
            raise needs_a_table("RESTORE", *table.parts)
        version, at = _version(reader, session, lakehouse, cursor, table)
        reader.end()
        copy = lakehouse.history.relation(cursor, table, version)
        steps: tuple[str, ...] = ()
        if copy is not None:
            place = f"{identifier(copy[0])}.{identifier(copy[1])}"
            if _columns(cursor, place) != _columns(cursor, table.sql):
                raise unsupported("RESTORE to a version of other columns")
            steps = (f"DELETE FROM {table.sql}", f"INSERT INTO {table.sql} SELECT * FROM {place}")  # noqa: S608 - names
        recorded = lakehouse.history.feed.recorded(cursor, table, version)
    finally:
        cursor.close()
    return Write(
        table=table,
        operation="RESTORE",
        steps=steps,
        zeros=_RESTORED,
        whole=bool(steps),
        sets={CHANGE_FEED: "true" if recorded else None},
        parameters={"version": None if at else str(version), "timestamp": at},
    )


def _version(
    reader: TokenReader, session: Session, lakehouse: Lakehouse, cursor: Cursor, table: TableName
) -> tuple[int, str | None]:
    """The version, and the time by which it was named."""
    if reader.accept("VERSION", "AS", "OF"):
        return reader.number(), None
    if not reader.accept("TIMESTAMP", "AS", "OF"):
        raise syntax_error(reader.next().text)
    written = reader.string()
    at = timestamp(written, session.zone, "TIMESTAMP AS OF")
    return lakehouse.history.version_at(cursor, table, at), written


def _columns(cursor: Cursor, place: str) -> list[tuple[str, str]]:
    cursor.execute(f"SELECT * FROM {place} LIMIT 0")  # noqa: S608 - a quoted name
    return [(column[0], str(column[1])) for column in cursor.description or ()]
