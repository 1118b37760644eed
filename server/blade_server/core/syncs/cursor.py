"""Whether a table has the cursor column that a sync names, of a type that grows: asked of the warehouse."""

from __future__ import annotations

from difflib import get_close_matches

import pyarrow as pa

from blade_server.core import sql
from blade_server.core.sources.credentials import target
from blade_server.core.transform.columns import find_column
from blade_server.errors import Invalid, Reason
from blade_server.model import Source
from blade_server.model.policy import SourcePolicy
from blade_server.model.sync import Cursor
from blade_server.warehouse import Warehouse

LOOK_TIMEOUT_S = 30.0


def check_cursor(policy: SourcePolicy, source: Source, cursor: Cursor, *, field: str) -> None:
    """Pass a cursor that the source's table can have.

    Raises:
        Invalid: below `field`: there is no such column, its values do not sort, or have no span of time for `lag`.
        Warehouse...: it cannot be asked.
    """
    with Warehouse(target(policy.warehouse, source.config), source.name) as warehouse:
        result = warehouse.execute(sql.all_rows(source, 0), timeout_s=LOOK_TIMEOUT_S)
        schema = result.schema
        result.close()
    place = find_column(schema.names, cursor.column)
    if place is None:
        close = get_close_matches(cursor.column.lower(), [known.lower() for known in schema.names], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(schema.names[:30])}"
        raise _unusable(f"{field}.column", f"the table of source {source.name!r} has no column {cursor.column!r}{hint}")
    name, kind = schema.names[place], schema.types[place]
    if not _grows(kind):
        raise _unusable(f"{field}.column", f"{name!r} is of the type {kind}; take a time, a date, a number or text")
    if cursor.lag_s and not _is_time(kind):
        raise _unusable(f"{field}.lag", f"is for times and dates, and {name!r} is of the type {kind}; leave it out")


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _grows(kind: pa.DataType) -> bool:
    types = pa.types
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return bool(number or _is_time(kind) or types.is_string(kind) or types.is_large_string(kind))


def _unusable(field: str, why: str) -> Invalid:
    return Invalid.field(field, why, reason=Reason.CURSOR_UNUSABLE)
