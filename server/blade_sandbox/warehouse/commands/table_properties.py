"""ALTER TABLE ... SET and UNSET TBLPROPERTIES. What else ALTER does, sqlglot can read."""

from __future__ import annotations

import json

from blade_sandbox.warehouse.errors import SqlError, needs_a_table, quote
from blade_sandbox.warehouse.lake.change_feed import CHANGE_COLUMNS
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_metadata import CHANGE_FEED, property_name
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Write


def alter(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Write | None:
    """ALTER TABLE table SET TBLPROPERTIES (key = value, ...) or UNSET TBLPROPERTIES [IF EXISTS] (key, ...); else None.

    Raises:
        SqlError: wrong syntax, no such table, or properties that it cannot have.
    """
    if not reader.accept("TABLE"):
        return None
    parts = reader.try_name()
    sets = reader.accept("SET", "TBLPROPERTIES")
    if parts is None or not (sets or reader.accept("UNSET", "TBLPROPERTIES")):
        return None
    quiet = not sets and reader.accept("IF", "EXISTS")
    changed = _listed(reader, values=sets)
    table = session.full_name(parts)
    if lakehouse.require_table(table).kind == "VIEW":
        raise needs_a_table("ALTER TABLE ... SET TBLPROPERTIES", *table.parts)
    if sets:
        _check_columns(table, changed, lakehouse)
    elif not quiet:
        _check_there(table, changed, lakehouse)
    shown = json.dumps(changed if sets else list(changed))
    return Write(
        table=table,
        operation=f"{'SET' if sets else 'UNSET'} TBLPROPERTIES",
        steps=(),
        sets=changed,
        parameters={"properties": shown},
    )


def _listed(reader: TokenReader, *, values: bool) -> dict[str, str | None]:
    """(key [= value], ...), to the end of the statement."""
    found: dict[str, str | None] = {}
    reader.expect("(")
    while True:
        parts = reader.try_name(parts=9)
        key = property_name(reader.string() if parts is None else ".".join(parts))
        found[key] = None
        if values:
            reader.accept("=")
            word = reader.next().text
            found[key] = word.lower() if word.upper() in ("TRUE", "FALSE") else word
        if not reader.accept(","):
            break
    reader.expect(")")
    reader.end()
    return found


def _check_columns(table: TableName, changed: dict[str, str | None], lakehouse: Lakehouse) -> None:
    taken = [column.name for column in lakehouse.columns(table) if column.name.lower() in CHANGE_COLUMNS]
    if taken and (changed.get(CHANGE_FEED) or "").lower() == "true":
        raise SqlError(
            "DELTA_TABLE_ALREADY_CONTAINS_CDC_COLUMNS",
            "42711",
            f"Unable to enable Change Data Capture on the table. The table already contains\nreserved columns "
            f"[{','.join(taken)}] that will\nbe used internally as metadata for the table's Change Data Feed. To "
            "enable\nChange Data Feed on the table rename/drop these columns.",
        )


def _check_there(table: TableName, changed: dict[str, str | None], lakehouse: Lakehouse) -> None:
    cursor = lakehouse.cursor()
    try:
        there = lakehouse.history.metadata.of(cursor, table).properties
    finally:
        cursor.close()
    missing = [key for key in changed if key not in there]
    if missing:
        raise SqlError(
            "UNSET_NONEXISTENT_PROPERTIES",
            "42K0J",
            f"Attempted to unset non-existent properties [{', '.join(quote(key) for key in missing)}] in table "
            f"{quote(*table.parts)}.",
        )
