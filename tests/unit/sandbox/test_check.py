"""The check of catalog against warehouse finds what it is there to find."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from blade_sandbox.check import Expected, compare, same

MODIFIED = datetime(2024, 1, 10, 15, 30, tzinfo=UTC)


def row(item_id: str, **values: Any) -> dict[str, Any]:
    return {"item_id": item_id, "classification": "UNCLASS", "last_modified": MODIFIED, **values}


def item(item_id: str, copies: int = 1, **values: Any) -> dict[str, Any]:
    data = row(item_id, **values) | {"last_modified": "2024-01-10T15:30:00Z"}
    return {
        "itemId": item_id,
        "classification": "UNCLASS",
        "copies": copies,
        "file": {
            "itemId": item_id,
            "dataType": "m",
            "data": data,
            "classification": "UNCLASS",
            "lastModified": "2024-01-10T15:30:00Z",
            "metadata": {},
        },
    }


def check(rows: list[dict[str, Any]], items: list[dict[str, Any]]) -> tuple[int, int, int, int]:
    found = compare(rows, items, Expected(data_type="m"))
    assert found.clean == (not found.samples)
    return found.missing, found.doubled, found.different, found.unknown


def test_equal_contents_are_clean() -> None:
    assert check([row("a", n=1), row("b", n=2)], [item("a", n=1), item("b", n=2)]) == (0, 0, 0, 0)


def test_what_is_missing_at_either_end_and_in_the_middle_is_counted() -> None:
    assert check([row("a"), row("b"), row("c"), row("d")], [item("b")]) == (3, 0, 0, 0)


def test_a_second_copy_is_doubled() -> None:
    assert check([row("a")], [item("a", copies=2)]) == (0, 1, 0, 0)


def test_another_value_or_an_absent_or_extra_column_is_different() -> None:
    rows = [row("a", n=1), row("b", n=1), row("c", n=1)]
    assert check(rows, [item("a", n=2), item("b"), item("c", n=1, m=1)]) == (0, 0, 3, 0)


def test_another_classification_on_the_envelope_is_different() -> None:
    assert check([row("a")], [item("a") | {"classification": "SECRET"}]) == (0, 0, 1, 0)


def test_what_the_warehouse_does_not_have_is_unknown() -> None:
    assert check([row("b")], [item("a"), item("b"), item("c")]) == (0, 0, 0, 2)


def test_an_empty_catalog_lacks_everything() -> None:
    assert check([row("a"), row("b")], []) == (2, 0, 0, 0)


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        check([row("b"), row("a")], [item("a"), item("b")])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (2**60 + 1, 2**60 + 1),
        (1.5, 1.5),
        (float("nan"), None),
        ("ü", "ü"),
        (Decimal("12.30"), "12.30"),
        (date(2024, 1, 15), "2024-01-15"),
        (MODIFIED, "2024-01-10T15:30:00+00:00"),
        (datetime(2024, 1, 10, 15, 30), "2024-01-10T15:30:00"),  # noqa: DTZ001
        (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
        ([1, None], [1, None]),
        ({"a": Decimal(1)}, {"a": "1"}),
    ],
)
def test_a_value_is_the_same_as_its_json_form(value: Any, shown: Any) -> None:
    assert same(value, shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, 1),
        (1, True),
        (2**60 + 1, float(2**60 + 1)),
        (Decimal("12.30"), "12.31"),
        (MODIFIED, "2024-01-10T15:30:01Z"),
        (b"\x00", "AQ=="),
        ([1, 2], [2, 1]),
        ([1], [1, 2]),
        ({"a": 1}, {}),
        ("1", 1),
    ],
)
def test_any_other_value_is_not(value: Any, shown: Any) -> None:
    assert not same(value, shown)
