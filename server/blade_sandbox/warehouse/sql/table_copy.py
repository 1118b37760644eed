"""A new table with the columns of another, with or without its rows: CREATE TABLE ... LIKE and ... CLONE."""

from __future__ import annotations

from blade_sandbox.warehouse.answers import nothing
from blade_sandbox.warehouse.errors import table_exists
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName, identifier
from blade_sandbox.warehouse.statements import Statement, Write


def copy_table(
    lakehouse: Lakehouse,
    source: TableName,
    target: TableName,
    *,
    quiet: bool,
    replace: bool = False,
    rows: bool = False,
    version: int | None = None,
) -> Statement:
    """A table like another; with its rows, its properties come too.

    Raises:
        SqlError: the source, its version or the target's schema is not there, or the target is (without ``quiet``).
    """
    lakehouse.require_schema(target.catalog, target.schema)
    lakehouse.require_table(source)
    if lakehouse.tables(target) and not replace:
        if quiet:
            return nothing()
        raise table_exists(*target.parts)
    content = source.sql
    cursor = lakehouse.cursor()
    try:
        kept = None if version is None else lakehouse.history.relation(cursor, source, version)
        properties = lakehouse.history.metadata.of(cursor, source).properties if rows else {}
        steps = [*lakehouse.definition(cursor, source, target.sql)]
    finally:
        cursor.close()
    if replace:
        steps.insert(0, f"DROP TABLE IF EXISTS {target.sql}")
    if kept is not None:
        content = f"{identifier(kept[0])}.{identifier(kept[1])}"
    if rows:
        steps.append(f"INSERT INTO {target.sql} SELECT * FROM {content}")  # noqa: S608 - quoted identifiers
    return Write(table=target, operation="CREATE TABLE", steps=tuple(steps), whole=True, creates=properties)
