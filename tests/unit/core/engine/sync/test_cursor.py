"""Values of a cursor column as text and back, the greatest of them, and what cannot be one."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from blade_server.core.engine.batches import Seen
from blade_server.core.engine.sync.cursor import CursorReader, as_text_value, cursor_field, from_text, later
from blade_server.errors import Precondition, Reason

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
US = pa.timestamp("us", "UTC")
VALUES = [
    (pa.timestamp("us", "UTC"), ["2024-01-10T10:00:00Z", "2024-01-10T10:00:00.000001Z", "0001-01-01T00:00:00Z"]),
    (pa.timestamp("us"), ["2024-01-10T10:00:00", "2024-01-10T10:00:00.5"]),
    (pa.date32(), ["2024-01-10", "1969-12-31"]),
    (pa.int64(), ["-5", "9223372036854775807"]),
    (pa.decimal128(38, 18), ["99999999999999999999.999999999999999999", "-0.500000000000000000"]),
    (pa.float64(), ["0.1", "1e+300", "-2.5"]),
    (pa.string(), ["", "v0001", "ä"]),
]


def taken(values, kind, now=NOW):
    seen = Seen()
    batch = pa.RecordBatch.from_arrays([pa.array(values, kind)], names=["c"])
    reader = CursorReader(cursor_field(batch.schema, "C"), seen, now)
    nulls = [reader.take(batch.slice(at, 2)).to_pylist() for at in range(0, len(values), 2)]
    return seen, [null for some in nulls for null in some]


@pytest.mark.parametrize(
    ("kind", "texts"), VALUES, ids=lambda value: str(value) if isinstance(value, pa.DataType) else ""
)
def test_text_is_exact(kind, texts):
    for text in texts:
        value = from_text(text, kind)
        assert value.type == kind
        assert from_text(as_text_value(value), kind).equals(value)
    assert [as_text_value(from_text(text, kind)) for text in texts[:1]] == texts[:1]


def test_the_greatest_value_and_nulls():
    seen, nulls = taken([3, None, 7, 5, None], pa.int64())
    assert (seen.watermark, seen.null_cursors, nulls) == ("7", 2, [False, True, False, False, True])
    assert taken([None, None], pa.int64())[0].watermark == ""
    assert taken([1.5, float("nan"), float("inf")], pa.float64())[0].watermark == "1.5"


@pytest.mark.parametrize(
    ("value", "watermark", "future"),
    [
        (datetime(2024, 6, 1, 13, tzinfo=UTC), "2024-06-01T13:00:00Z", ""),
        (datetime(2024, 6, 1, 13, 0, 1, tzinfo=UTC), "2024-06-01T12:00:00Z", "2024-06-01T13:00:01Z"),
    ],
)
def test_a_time_counts_up_to_an_hour_from_now(value, watermark, future):
    seen, _ = taken([value], US)
    assert (seen.watermark, seen.future) == (watermark, future)


def test_a_year_that_python_has_no_time_for_is_the_future():
    far = pa.array([400_000_000_000_000_000], pa.int64()).cast(US)
    seen, _ = taken(far, US)
    assert (seen.watermark, seen.future[:1]) == ("2024-06-01T12:00:00Z", "+")


def test_the_later_of_two():
    assert later("9", "10", pa.int64()) == "10"
    assert later("9", "10", pa.string()) == "9"
    assert later("", "10", pa.string()) == later("10", "", pa.string()) == "10"


@pytest.mark.parametrize("kind", [pa.bool_(), pa.binary(), pa.list_(pa.int64()), pa.null()])
def test_a_type_without_an_order_is_refused(kind):
    with pytest.raises(Precondition, match="of type") as caught:
        cursor_field(pa.schema([("c", kind)]), "c")
    assert caught.value.reason is Reason.CURSOR_UNUSABLE


def test_a_column_that_is_not_there_is_refused_and_so_is_text_that_is_no_value():
    with pytest.raises(Precondition, match="'other' is not among the 1 columns"):
        cursor_field(pa.schema([("c", pa.int64())]), "other")
    with pytest.raises(Precondition, match="'x' is no value"):
        from_text("x", pa.int64())
