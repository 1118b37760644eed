from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest

from blade_server.core.transform.item_ids import Template
from blade_server.core.transform.row_hash import row_hashes


def hashes(**columns: Any) -> list[str]:
    digits: list[str] = row_hashes(pa.record_batch(columns)).to_pylist()
    return digits


def digest(content: str) -> str:
    return sha256(content.encode()).hexdigest()[:16]


def test_the_digits_are_those_of_the_page() -> None:
    assert hashes(note=['a "b"'], n=[7], gone=[None]) == [digest('"n":1:7,"note":5:a "b",')]
    assert hashes(note=['a "b"'], n=[7]) == ["437971c8e3df162c"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", ""),
        (" ü😀", " ü😀"),
        (True, "true"),
        (-5, "-5"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (float("nan"), '"nan"'),
        (Decimal("2.50"), "2.50"),
        (date(2024, 2, 9), "2024-02-09"),
        (datetime(2024, 2, 9, 5, 6, 7, 120_000, tzinfo=UTC), "2024-02-09T05:06:07.12Z"),
        (datetime(2024, 2, 9, 5, 6, 7), "2024-02-09T05:06:07"),  # noqa: DTZ001
        (b"\x00\xff", "AP8="),
        ([1, None], "[1,null]"),
        ({"a": "x", "b": 1.0}, '{"a":"x","b":1.0}'),
    ],
)
def test_a_value_is_written_as_in_the_item(value: Any, written: str) -> None:
    assert hashes(x=[value]) == [digest(f'"x":{len(written)}:{written},')]


def test_neither_batch_nor_place_nor_order_of_columns_counts() -> None:
    rows: dict[str, list[Any]] = {"b": ["x", None, "y", "x"], "a": [1, 2, 3, 1]}
    whole = hashes(**rows)
    assert whole[0] == whole[3]
    assert len(set(whole)) == 3
    for at in range(4):
        assert hashes(a=[rows["a"][at]], b=pa.array([rows["b"][at]], pa.string())) == [whole[at]]
    assert row_hashes(pa.record_batch(rows).slice(1, 2)).to_pylist() == whole[1:3]


def test_a_new_column_without_values_changes_no_hash_and_one_with_a_value_does() -> None:
    before, after = hashes(a=[1, 1]), hashes(a=[1, 1], added=[None, 2])
    assert after[0] == before[0] != after[1]


def test_values_cannot_run_into_each_other() -> None:
    rows = [{"a": "1"}, {"a": "1,"}, {"a": '1,"b":1:2'}, {"a": "1", "b": "2"}, {"b": "1", "a": "2"}]
    assert len({hashes(**{name: [value] for name, value in row.items()})[0] for row in rows}) == len(rows)


def test_it_stands_in_a_template_beside_columns() -> None:
    batch = pa.record_batch({"tail": ["AF-1"], "n": [7]})
    template = Template.parse("M-{tail}-{row:hash}")
    assert template.render(batch).ids.to_pylist() == [f"M-AF-1-{row_hashes(batch)[0]}"]
    assert Template.parse("{row:hash}").columns == ()
