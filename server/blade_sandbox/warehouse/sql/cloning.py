"""CREATE TABLE ... CLONE and ... LIKE: a new table with the columns of another, with or without its rows.

sqlglot knows neither SHALLOW nor DEEP, so CLONE is read here word by word. Shallow and deep are the same here: a copy.
"""

from __future__ import annotations

from blade_sandbox.warehouse.commands.show import full
from blade_sandbox.warehouse.errors import table_exists
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName, identifier
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.statements import NO_ROWS, Action, Statement, Write
from blade_sandbox.warehouse.words import Words

_CLONED = (
    "source_table_size", "source_num_of_files", "num_removed_files", "num_copied_files", "removed_files_size",
    "copied_files_size",
)  # fmt: skip


def parse(words: Words, session: Session, lakehouse: Lakehouse) -> Statement | None:
    """The statement, its CREATE already read; None if it is no CLONE."""
    replace = words.accept("OR", "REPLACE")
    if not words.accept("TABLE"):
        return None
    quiet = words.accept("IF", "NOT", "EXISTS")
    name = words.try_name()
    if name is None or not (words.accept("SHALLOW", "CLONE") or words.accept("DEEP", "CLONE") or words.accept("CLONE")):
        return None
    source = full(session, words.name())
    version = None
    if words.accept("VERSION", "AS", "OF"):
        version = int(words.number())
    words.end()
    target = full(session, name)
    found = copy(lakehouse, source, target, quiet=quiet, replace=replace, rows=True, version=version)
    if isinstance(found, Write):
        return Write(table=target, operation="CLONE", steps=found.steps, zeros=_CLONED)
    return found


def copy(
    lakehouse: Lakehouse,
    source: TableName,
    target: TableName,
    *,
    quiet: bool,
    replace: bool = False,
    rows: bool = False,
    version: int | None = None,
) -> Statement:
    """A table like another.

    Raises:
        SqlError: the source, its version or the target's schema is not there, or the target is (without ``quiet``).
    """
    lakehouse.require_schema(target.catalog, target.schema)
    lakehouse.require_table(source)
    if lakehouse.tables(target) and not replace:
        if quiet:
            return Action(run=lambda cursor: NO_ROWS)
        raise table_exists(*target.parts)
    content = source.sql
    cursor = lakehouse.cursor()
    try:
        kept = None if version is None else lakehouse.history.relation(cursor, source, version)
        steps = [*lakehouse.definition(cursor, source, target.sql)]
    finally:
        cursor.close()
    if replace:
        steps.insert(0, f"DROP TABLE IF EXISTS {target.sql}")
    if kept is not None:
        content = f"{identifier(kept[0])}.{identifier(kept[1])}"
    if rows:
        steps.append(f"INSERT INTO {target.sql} SELECT * FROM {content}")  # noqa: S608 - quoted identifiers
    return Write(table=target, operation="CREATE TABLE", steps=tuple(steps))
