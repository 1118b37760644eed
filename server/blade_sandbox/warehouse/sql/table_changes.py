"""table_changes('table', first [, last]): the change rows of a table by versions or timestamps, both ends included.

It becomes a SELECT from where the lakehouse keeps them. The checks, and their order, are those of Delta Lake.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

from sqlglot import exp

from blade_sandbox.warehouse.errors import SqlError, needs_a_table, unsupported
from blade_sandbox.warehouse.lake.change_feed import CHANGE_COLUMNS, CHANGES_SCHEMA, Changes
from blade_sandbox.warehouse.lake.history import History
from blade_sandbox.warehouse.lake.lakehouse import Cursor, Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.timestamps import timestamp

_NAME = "table_changes"


def is_call(node: exp.Expr) -> bool:
    """Whether this is a call of the function, in the place of a table."""
    return isinstance(node, exp.Table) and isinstance(node.this, exp.Anonymous) and node.this.name.lower() == _NAME


def bind(call: exp.Table, text: Callable[[str], str | None]) -> None:
    """Put the values of parameters in the place of markers: what is read follows from them."""
    for marker in list(call.this.find_all(exp.Placeholder)):
        value = text(marker.name)
        marker.replace(exp.Null() if value is None else exp.Literal.string(value))


def rewrite(call: exp.Table, session: Session, lakehouse: Lakehouse) -> tuple[TableName, int, int]:
    """Put the change rows in the place of the call; the table, its first and its last version.

    Raises:
        SqlError: there is no such table, or its changes of that range cannot be read.
    """
    arguments = call.this.expressions
    if len(arguments) not in (2, 3) or not (isinstance(arguments[0], exp.Literal) and arguments[0].is_string):
        raise unsupported(f"{_NAME}() of anything but the name of a table in quotes, a start and an end")
    written = exp.to_table(arguments[0].name, dialect="databricks")
    name = session.full_name(tuple(part.name for part in written.parts))
    if lakehouse.require_table(name).kind == "VIEW":
        raise needs_a_table(_NAME, *name.parts)
    bounds = [_bound(argument, session.zone) for argument in arguments[1:]]
    cursor = lakehouse.cursor()
    try:
        first, last, is_empty = _versions(lakehouse.history, cursor, name, bounds)
        found = lakehouse.history.feed.changes(cursor, name, first, last)
    finally:
        cursor.close()
    select = _select(found, first, last) if not is_empty else _select(found, first, last).where("FALSE")
    alias = call.args.get("alias") or exp.TableAlias(this=exp.to_identifier(name.table, quoted=True))
    call.replace(exp.Subquery(this=select, alias=alias))
    return name, first, last


def _bound(value: exp.Expr, zone: str) -> int | datetime.datetime:
    """A version, or a time."""
    if isinstance(value, exp.Null):
        raise SqlError("DELTA_CDC_READ_NULL_RANGE_BOUNDARY", "22004", "CDC read start/end parameters cannot be null.")
    inner = value.this if isinstance(value, (exp.Cast, exp.Neg)) else value
    if isinstance(inner, exp.Literal) and inner.name.lstrip("-").isdecimal():
        return -int(inner.name) if isinstance(value, exp.Neg) else int(inner.name)
    return timestamp(inner.name, zone, f"{_NAME}() from")


def _versions(
    history: History, cursor: Cursor, name: TableName, bounds: list[int | datetime.datetime]
) -> tuple[int, int, bool]:
    """First and last version, and whether nothing was written between two times."""
    latest = history.latest(cursor, name)
    first = bounds[0] if isinstance(bounds[0], int) else history.version_since(cursor, name, bounds[0])
    last = latest
    if len(bounds) > 1 and isinstance(bounds[1], int):
        last = bounds[1]
    elif len(bounds) > 1 and isinstance(bounds[1], datetime.datetime):
        history.check_not_after(cursor, name, bounds[1])
        last = history.version_at(cursor, name, bounds[1])
    if first > latest:
        raise SqlError(
            "DELTA_CDC_START_VERSION_AFTER_LATEST",
            "22003",
            f"Start version {first} for reading change data exceeds the latest table version {latest}.",
        )
    by_time = [bound for bound in bounds if isinstance(bound, datetime.datetime)]
    if last == first - 1 and len(by_time) == 2 and by_time[0] <= by_time[1]:
        return first, first, True
    if last < first:
        raise SqlError(
            "DELTA_INVALID_CDC_RANGE",
            "22003",
            f"CDC range from start {first} to end {last} was invalid. End cannot be before start.",
        )
    if first < 0 or last > latest:
        raise SqlError(
            "DELTA_VERSION_NOT_FOUND",
            "22003",
            f"Cannot time travel Delta table to version {first if first < 0 else last}. "
            f"Available versions: [0, {latest}].",
        )
    return first, last, False


def _select(found: Changes, first: int, last: int) -> exp.Select:
    columns = [exp.column(exp.to_identifier(name, quoted=True)) for name in (*found.columns, *CHANGE_COLUMNS)]
    place = exp.table_(exp.to_identifier(found.place, quoted=True), db=exp.to_identifier(CHANGES_SCHEMA, quoted=True))
    version = exp.column(CHANGE_COLUMNS[1])
    return exp.select(*columns).from_(place).where(version.between(first, last))
