"""Parameters travel typed and are values, never text of the statement."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any

import pytest
from databricks.sql.exc import ServerOperationError
from databricks.sql.parameters import (
    BigIntegerParameter,
    DateParameter,
    DecimalParameter,
    FloatParameter,
    SmallIntParameter,
    TimestampNTZParameter,
    TimestampParameter,
    TinyIntParameter,
    VoidParameter,
)

Rows = Callable[..., list[tuple[Any, ...]]]
NOON = datetime.datetime(2024, 1, 2, 12, 0, 0, 250000, tzinfo=datetime.UTC)
NAIVE = NOON.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("text", "string", "text"),
        ("'; DROP TABLE item; --", "string", "'; DROP TABLE item; --"),
        ("a:b ? $p0 {x}", "string", "a:b ? $p0 {x}"),
        ("", "string", ""),
        (7, "int", 7),
        (2**40, "bigint", 2**40),
        (1.5, "double", 1.5),
        (True, "boolean", True),
        (decimal.Decimal("12.50"), "decimal", decimal.Decimal("12.50")),
        (decimal.Decimal("0.001"), "decimal", decimal.Decimal("0.001")),
        (decimal.Decimal("-5"), "decimal", decimal.Decimal("-5")),
        (datetime.date(2024, 1, 2), "date", datetime.date(2024, 1, 2)),
        (NOON, "timestamp", NOON),
        (None, "string", None),
        ([1, 2, 3], "array", [1, 2, 3]),
        (["a", None], "array", ["a", None]),
        ({"k": 1, "l": 2}, "map", [("k", 1), ("l", 2)]),
    ],
)
def test_a_python_value_arrives_with_its_type(cursor: Any, value: Any, kind: str, expected: Any) -> None:
    cursor.execute("SELECT :v AS v", {"v": value})
    assert cursor.description[0][1] == kind
    assert cursor.fetchall_arrow().column("v").to_pylist() == [expected]


@pytest.mark.parametrize(
    ("parameter", "kind", "expected"),
    [
        (TinyIntParameter(-128), "tinyint", -128),
        (SmallIntParameter(300), "smallint", 300),
        (BigIntegerParameter(-(2**63)), "bigint", -(2**63)),
        (FloatParameter(0.5), "float", 0.5),
        (DecimalParameter(decimal.Decimal("1.5"), scale=10, precision=4), "decimal", decimal.Decimal("1.5000")),
        (DateParameter(datetime.date(1970, 1, 1)), "date", datetime.date(1970, 1, 1)),
        (TimestampParameter(NAIVE), "timestamp", NOON),
        (TimestampNTZParameter(NAIVE), "timestamp", NAIVE),
        (VoidParameter(None), "string", None),
    ],
)
def test_a_parameter_of_the_driver_arrives_with_its_type(cursor: Any, parameter: Any, kind: str, expected: Any) -> None:
    cursor.execute("SELECT ? AS v", [parameter])
    assert cursor.description[0][1] == kind
    assert cursor.fetchall_arrow().column("v").to_pylist() == [expected]


def test_question_marks_take_their_values_in_the_order_of_the_text(rows: Rows) -> None:
    found = rows(
        "SELECT ? AS a FROM (SELECT id FROM main.blade.item WHERE id >= ? LIMIT ?) WHERE id < ?", ["x", 10, 5, 12]
    )
    assert found == [("x",), ("x",)]


def test_a_name_can_be_used_twice_and_in_any_case(rows: Rows) -> None:
    assert rows("SELECT :Amount + :amount AS v", {"amount": 4}) == [(8,)]


def test_a_marker_inside_a_string_or_comment_is_no_marker(rows: Rows) -> None:
    assert rows("SELECT ':x ?' AS v -- :y ?\n WHERE 1 = :z", {"z": 1}) == [(":x ?",)]


def test_values_can_limit_filter_and_be_inserted(rows: Rows) -> None:
    rows("CREATE OR REPLACE TABLE main.default.bound (a INT, b STRING, c DATE)")
    rows("INSERT INTO main.default.bound VALUES (:a, :b, :c)", {"a": 1, "b": "it's", "c": datetime.date(2024, 5, 6)})
    assert rows("SELECT * FROM main.default.bound WHERE b = :b LIMIT :n", {"b": "it's", "n": 1}) == [
        (1, "it's", datetime.date(2024, 5, 6))
    ]


def test_a_table_name_can_be_a_parameter(rows: Rows) -> None:
    assert rows("SELECT count(*) AS n FROM IDENTIFIER(:t)", {"t": "main.blade.item"}) == [(20000,)]


@pytest.mark.parametrize(
    ("statement", "given"), [("SELECT :a, :b", {"a": 1}), ("SELECT ?, ?", [1]), ("SELECT :a", None)]
)
def test_a_marker_without_a_value_is_an_error(cursor: Any, statement: str, given: Any) -> None:
    with pytest.raises(ServerOperationError, match=r"\[UNBOUND_SQL_PARAMETER\].*SQLSTATE: 42P02"):
        cursor.execute(statement, given)


def test_a_value_that_does_not_fit_its_type_is_an_error(cursor: Any) -> None:
    with pytest.raises(ServerOperationError, match=r"\[CAST_INVALID_INPUT\]"):
        cursor.execute("SELECT ?", [TinyIntParameter(300)])
