"""Every Databricks type, from SQL through the wire to Python and Arrow."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import pyarrow as pa
import pytest

from .conftest import Connect

UTC = datetime.UTC
SCALARS = [
    ("cast(7 as tinyint)", "tinyint", pa.int8(), 7),
    ("cast(-32768 as smallint)", "smallint", pa.int16(), -32768),
    ("cast(2147483647 as int)", "int", pa.int32(), 2147483647),
    ("9223372036854775807", "bigint", pa.int64(), 9223372036854775807),
    ("cast(1.5 as float)", "float", pa.float32(), 1.5),
    ("2.25D", "double", pa.float64(), 2.25),
    ("cast('-12.340' as decimal(10,3))", "decimal", pa.decimal128(10, 3), decimal.Decimal("-12.340")),
    (
        "cast('12345678901234567890.123456789012345678' as decimal(38,18))",
        "decimal",
        pa.decimal128(38, 18),
        decimal.Decimal("12345678901234567890.123456789012345678"),
    ),
    ("'grüße 🚀'", "string", pa.string(), "grüße 🚀"),
    ("''", "string", pa.string(), ""),
    ("x'00ff10'", "binary", pa.binary(), b"\x00\xff\x10"),
    ("true", "boolean", pa.bool_(), True),
    ("date'0001-01-01'", "date", pa.date32(), datetime.date(1, 1, 1)),
    (
        "timestamp'2024-02-29 23:59:59.123456'",
        "timestamp",
        pa.timestamp("us", tz="Etc/UTC"),
        datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC),
    ),
    (
        "timestamp_ntz'2024-02-29 23:59:59.5'",
        "timestamp",
        pa.timestamp("us"),
        datetime.datetime(2024, 2, 29, 23, 59, 59, 500000),  # noqa: DTZ001
    ),
    ("interval '1 02:03:04' day to second", "interval_day_time", pa.string(), "1 02:03:04.000000000"),
    ("interval '-1-2' year to month", "interval_day_time", pa.string(), "-1-2"),
    ("array(1, null, 3)", "array", pa.list_(pa.int32()), [1, None, 3]),
    ("map('a', 1, 'b', null)", "map", pa.map_(pa.string(), pa.int32()), [("a", 1), ("b", None)]),
    (
        "named_struct('a', 1, 'b', array('x'))",
        "struct",
        pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]),
        {"a": 1, "b": ["x"]},
    ),
]


@pytest.mark.parametrize(("expression", "name", "arrow", "value"), SCALARS, ids=[case[0] for case in SCALARS])
def test_a_type_keeps_its_name_its_arrow_type_and_its_value(
    cursor: Any, expression: str, name: str, arrow: pa.DataType, value: Any
) -> None:
    cursor.execute(f"SELECT {expression} AS x UNION ALL SELECT NULL")
    assert cursor.description[0][:2] == ("x", name)
    table = cursor.fetchall_arrow()
    found = table.schema.field("x").type
    assert found == arrow or str(found).replace(": ", ":") == str(arrow).replace(": ", ":")
    assert table.column("x").to_pylist() == [value, None]


def test_not_a_number_and_infinities_survive(cursor: Any) -> None:
    cursor.execute("SELECT double('NaN'), double('Infinity'), float('-Infinity')")
    nan, positive, negative = (column[0].as_py() for column in cursor.fetchall_arrow().columns)
    assert math.isnan(nan)
    assert (positive, negative) == (math.inf, -math.inf)


def test_a_decimal_tells_its_precision_and_scale(cursor: Any) -> None:
    cursor.execute("SELECT cast(1 as decimal(12,5)) AS d")
    assert cursor.description[0][4:6] == (12, 5)


def test_null_without_a_type_is_described_as_a_string(cursor: Any) -> None:
    cursor.execute("SELECT NULL AS nothing")
    assert cursor.description[0][:2] == ("nothing", "string")
    assert cursor.fetchall()[0][0] is None


def test_the_sum_of_integers_is_a_bigint(cursor: Any) -> None:
    cursor.execute("SELECT sum(id) AS total FROM main.blade.item")
    assert cursor.description[0][1] == "bigint"
    assert cursor.fetchone()[0] == 199990000


def test_nested_types_come_as_json_for_a_client_that_wants_text(connect: Connect) -> None:
    cursor = connect(_use_arrow_native_complex_types=False).cursor()
    cursor.execute("SELECT array(1, 2) AS a, map('k', date'2024-01-02') AS m, named_struct('x', 1.5, 'y', null) AS s")
    assert tuple(cursor.fetchone()) == ("[1,2]", '{"k":"2024-01-02"}', '{"x":1.5,"y":null}')
    assert [column[1] for column in cursor.description] == ["array", "map", "struct"]


def test_decimals_and_timestamps_come_as_text_for_a_client_that_wants_text(connect: Connect) -> None:
    cursor = connect(_use_arrow_native_decimals=False, _use_arrow_native_timestamps=False).cursor()
    cursor.execute("SELECT cast(1.50 as decimal(5,2)) AS d, timestamp'2024-01-02 03:04:05.6' AS t")
    assert tuple(cursor.fetchone()) == (decimal.Decimal("1.50"), "2024-01-02 03:04:05.6")


def test_a_statement_without_rows_keeps_its_columns(cursor: Any) -> None:
    cursor.execute("SELECT id, name FROM main.blade.item WHERE false")
    assert [column[:2] for column in cursor.description] == [("id", "bigint"), ("name", "string")]
    assert cursor.fetchall() == []
    assert cursor.fetchall_arrow().num_rows == 0


def test_columns_of_one_name_are_both_there(cursor: Any) -> None:
    cursor.execute("SELECT 1 AS x, 2 AS x")
    assert cursor.fetchall_arrow().to_batches()[0].to_struct_array().type.num_fields == 2


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("count(*)", "count(1)"),
        ("max(id)", "max(id)"),
        ("id + 1", "(id + 1)"),
        ("'x'", "x"),
        ("main.blade.item.id", "id"),
        ("current_catalog()", "current_catalog()"),
    ],
)
def test_a_column_without_alias_has_databricks_name(cursor: Any, expression: str, name: str) -> None:
    cursor.execute(f"SELECT {expression} FROM main.blade.item GROUP BY ALL LIMIT 1")
    assert cursor.description[0][0].lower() == name
