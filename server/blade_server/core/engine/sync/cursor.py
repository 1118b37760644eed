"""The column that grows with every change: its values as text, its greatest one, and what may be asked of it.

A value's text is exact: read back as the column's type it is the same value. The greatest one counts up to an hour from
now, and a later one counts as now: it would hide all rows that come until then.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import AnyArray, fill_null
from blade_server.core.engine.batches import Seen
from blade_server.core.transform.columns import find_column
from blade_server.core.transform.times import iso_text
from blade_server.errors import Precondition, Reason

FUTURE = timedelta(hours=1)


def cursor_field(schema: pa.Schema, column: str) -> pa.Field[pa.DataType]:
    """The column in the schema's own spelling and type.

    Raises:
        Precondition: CURSOR_UNUSABLE, there is none, or its values have no order that a warehouse and BLADE share.
    """
    position = find_column(list(schema.names), column)
    if position is None:
        shown = ", ".join(schema.names[:20])
        raise unusable(
            f"the cursor column {column!r} is not among the {len(schema.names)} columns of the rows: {shown}"
        )
    field = schema.field(position)
    types, kind = pa.types, field.type
    sorts = (types.is_timestamp, types.is_date, types.is_integer, types.is_decimal, types.is_floating, types.is_string)
    if not any(check(kind) for check in (*sorts, types.is_large_string)):
        raise unusable(
            f"the cursor column {field.name!r} is of type {kind}; a time, a date, a number or text that sorts is needed"
        )
    return field


def unusable(words: str) -> Precondition:
    """The error for all that is wrong with a cursor."""
    return Precondition(words, reason=Reason.CURSOR_UNUSABLE)


class CursorReader:
    """Follows the cursor column through one reading; belongs to the reader's thread."""

    def __init__(self, field: pa.Field[pa.DataType], seen: Seen, now: datetime | None = None) -> None:
        self.name = field.name
        self._kind = field.type
        self._seen = seen
        self._greatest: pa.Scalar[pa.DataType] | None = None
        self._now = now or datetime.now(UTC)

    def take(self, batch: pa.RecordBatch) -> AnyArray:
        """Takes in the rows of a batch; returns which of them have no value."""
        column = batch.column(batch.schema.names.index(self.name))
        nulls = column.is_null()
        self._seen.null_cursors += column.null_count
        greatest = self._bounded(_greatest(column))
        if greatest is not None and (self._greatest is None or _less(self._greatest, greatest)):
            self._greatest = greatest
            self._seen.watermark = as_text_value(greatest)
        return nulls

    def _bounded(self, value: pa.Scalar[pa.DataType] | None) -> pa.Scalar[pa.DataType] | None:
        """The value, or now if it lies too far ahead."""
        if value is None or not (pa.types.is_timestamp(self._kind) or pa.types.is_date(self._kind)):
            return value
        bound = self._scalar(self._now + FUTURE)
        if not _less(bound, value):
            return value
        text = as_text_value(value)
        self._seen.future = max(self._seen.future, text)
        return self._scalar(self._now)

    def _scalar(self, time: datetime) -> pa.Scalar[pa.DataType]:
        value: datetime | date = time
        if pa.types.is_date(self._kind):
            value = time.date()
        elif not getattr(self._kind, "tz", None):
            value = time.replace(tzinfo=None)
        return pa.array([value]).cast(self._kind, safe=False)[0]


def later(one: str, other: str, kind: pa.DataType) -> str:
    """The greater of two values as text, of which one may be empty."""
    if not one or not other:
        return one or other
    first, second = (from_text(text, kind) for text in (one, other))
    return other if _less(first, second) else one


def as_text_value(value: pa.Scalar[pa.DataType]) -> str:
    """A value of a cursor column as text."""
    kind = value.type
    array: AnyArray = pa.array([value.as_py()], kind) if not pa.types.is_timestamp(kind) else _one(value)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return str(iso_text(array, zone="Z" if pa.types.is_timestamp(kind) and kind.tz else "")[0].as_py())
    return str(array.cast(pa.string())[0].as_py())


def from_text(text: str, kind: pa.DataType) -> pa.Scalar[pa.DataType]:
    """The value that a text stands for. Raises Precondition (CURSOR_UNUSABLE) if it is none of that type."""
    try:
        texts = pa.array([text.removesuffix("Z") if pa.types.is_timestamp(kind) else text], pa.string())
        if pa.types.is_timestamp(kind) and kind.tz:
            return texts.cast(pa.timestamp(kind.unit)).cast(pa.int64()).cast(kind)[0]
        return texts.cast(kind)[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise unusable(f"{text!r} is no value of a cursor of type {kind}") from exc


def _one(value: pa.Scalar[pa.DataType]) -> AnyArray:
    # By its ticks: Python's times have microseconds, and no year after 9999.
    return pa.array([value.cast(pa.int64()).as_py()], pa.int64()).cast(value.type)


def _greatest(column: AnyArray) -> pa.Scalar[pa.DataType] | None:
    if pa.types.is_floating(column.type):
        column = column.filter(fill_null(pc.is_finite(column), False))
    if len(column) == column.null_count:
        return None
    greatest: pa.Scalar[pa.DataType] = pc.max(column)
    return greatest


def _less(one: pa.Scalar[pa.DataType], other: pa.Scalar[pa.DataType]) -> bool:
    return bool(pc.less(one, other).as_py())
