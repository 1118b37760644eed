import json
import math
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest

from blade_server.core.transform.json_columns import (
    json_texts,
    plain_decimals,
    plain_type,
    readable,
    row_texts,
    unreadable_rows,
)


def values(column: pa.Array) -> list[Any]:
    return [json.loads(text, parse_float=str) for text in json_texts(column).to_pylist()]


def broken_text(*parts: bytes) -> pa.Array:
    """A string column with exactly these bytes, UTF-8 or not."""
    return pa.array(parts, pa.binary()).view(pa.string())


def test_every_character_is_written_as_a_json_encoder_writes_it() -> None:
    texts = [chr(code) for code in range(0x300)] + ["\u2028", "😀", 'a"b\\c\nd', "", None, "\uffff", "\\u0041"]
    assert json_texts(pa.array(texts)).to_pylist() == [orjson.dumps(text).decode() for text in texts]


def test_integers_keep_every_digit() -> None:
    big = [2**63 - 1, -(2**63), 2**53 + 1, 0, None]
    assert json_texts(pa.array(big, pa.int64())).to_pylist() == [orjson.dumps(value).decode() for value in big]
    assert json_texts(pa.array([2**64 - 1], pa.uint64())).to_pylist() == ["18446744073709551615"]


def test_floats_come_back_bit_for_bit_and_nan_and_infinities_are_null() -> None:
    floats = [0.1, -0.0, 1e16, 5e-324, 1.7976931348623157e308, 1 / 3, 123456789012345680.0, 1e-7]
    read = [json.loads(text) for text in json_texts(pa.array(floats)).to_pylist()]
    assert [struct.pack("d", value) for value in read] == [struct.pack("d", value) for value in floats]
    assert json_texts(pa.array([math.nan, math.inf, -math.inf, None, 1.5])).to_pylist() == ["null"] * 4 + ["1.5"]
    assert json_texts(pa.array([1.0, -3.0])).to_pylist() == ["1.0", "-3.0"]
    assert json_texts(pa.array([0.1], pa.float32())).to_pylist() == ["0.1"]


def test_exact_text_tells_nan_from_null() -> None:
    texts = json_texts(pa.array([math.nan, math.inf, None]), exact=True).to_pylist()
    assert len(set(texts)) == 3


def test_decimals_are_strings_with_all_digits_and_no_exponent() -> None:
    column = pa.array([Decimal("0.00000001"), Decimal(0), Decimal("-12.5"), None], pa.decimal128(38, 8))
    assert plain_decimals(column).to_pylist() == ["0.00000001", "0.00000000", "-12.50000000", None]
    largest = Decimal("9" * 38)
    assert values(pa.array([largest], pa.decimal128(38, 0))) == ["9" * 38]
    assert values(pa.array([Decimal("1e-38")], pa.decimal256(76, 38))) == ["0." + "0" * 37 + "1"]


def test_times_are_text_and_only_zoned_ones_end_in_z() -> None:
    moment = datetime(2024, 1, 15, 10, tzinfo=UTC)
    assert values(pa.array([moment, None], pa.timestamp("us", "UTC"))) == [
        "2024-01-15T10:00:00Z",
        None,
    ]
    assert values(pa.array([moment.replace(tzinfo=None)], pa.timestamp("us"))) == ["2024-01-15T10:00:00"]
    assert values(pa.array([date(2024, 1, 15)])) == ["2024-01-15"]


def test_binary_is_base64_and_booleans_are_json() -> None:
    assert values(pa.array([b"\x00\xff", b"", None])) == ["AP8=", "", None]
    assert values(pa.array([True, False, None])) == [True, False, None]
    assert values(pa.nulls(2)) == [None, None]


NESTED = pa.struct(
    [
        ("tags", pa.list_(pa.string())),
        ("limits", pa.map_(pa.string(), pa.decimal128(5, 2))),
        ("by_day", pa.map_(pa.date32(), pa.list_(pa.struct([("n", pa.int64()), ("x", pa.float64())])))),
    ]
)
NESTED_ROWS = [
    {"tags": ["a", None, 'q"'], "limits": [("lo", Decimal("1.50")), ("hi", None)], "by_day": []},
    None,
    {"tags": None, "limits": None, "by_day": [(date(2024, 1, 15), [{"n": 2**60, "x": math.nan}, None])]},
    {"tags": [], "limits": [], "by_day": None},
]
NESTED_JSON = [
    {"tags": ["a", None, 'q"'], "limits": {"lo": "1.50", "hi": None}, "by_day": {}},
    None,
    {"tags": None, "limits": None, "by_day": {"2024-01-15": [{"n": 2**60, "x": None}, None]}},
    {"tags": [], "limits": {}, "by_day": None},
]


def test_nested_values_are_nested_json() -> None:
    assert values(pa.array(NESTED_ROWS, NESTED)) == NESTED_JSON


@pytest.mark.parametrize("start", range(4))
def test_a_slice_of_nested_values_holds_only_its_own(start: int) -> None:
    column = pa.array(NESTED_ROWS, NESTED).slice(start, 2)
    assert values(column) == NESTED_JSON[start : start + 2]


def test_maps_with_scalar_keys_are_objects_and_with_nested_keys_lists_of_entries() -> None:
    assert values(pa.array([[(1, "a"), (2, None)]], pa.map_(pa.int32(), pa.string()))) == [{"1": "a", "2": None}]
    key = pa.struct([("a", pa.int32())])
    assert values(pa.array([[({"a": 1}, 2)]], pa.map_(key, pa.int32()))) == [[{"key": {"a": 1}, "value": 2}]]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "a"]).dictionary_encode(),
        pa.array(["a", None, "a"], pa.large_string()),
        pa.array(["a", None, "a"], pa.string_view()),
        pa.array([b"a", None], pa.large_binary()),
        pa.array([b"ab", None], pa.binary(2)),
        pa.array([[1], None], pa.list_(pa.int32(), 1)),
        pa.array([[1], None, []], pa.large_list(pa.int64())),
    ],
    ids=lambda column: str(column.type),
)
def test_other_layouts_are_the_same_values(column: pa.Array) -> None:
    plain = column.cast(plain_type(column.type))
    expected = [value.decode() if isinstance(value, bytes) else value for value in column.to_pylist()]
    read = values(plain)
    if pa.types.is_binary(plain.type):
        assert [value and len(value) for value in read] == [value and 4 for value in expected]
    else:
        assert read == expected


def test_types_without_a_json_form_are_refused() -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        plain_type(pa.list_(pa.dense_union([pa.field("a", pa.int32())])))
    with pytest.raises(TypeError, match="no JSON form"):
        plain_type(pa.list_view(pa.int32()))
    with pytest.raises(TypeError, match="two fields of one name"):
        plain_type(pa.list_(pa.struct([("a", pa.int32()), ("a", pa.int32())])))


def test_rows_keep_the_order_of_their_columns_and_odd_names() -> None:
    rows = row_texts([pa.array([1, None]), pa.array(["x", "y"])], ['b"\n', "a"]).to_pylist()
    assert rows == ['{"b\\"\\n":1,"a":"x"}', '{"b\\"\\n":null,"a":"y"}']


def test_text_that_is_not_utf8_is_found_and_made_readable() -> None:
    column = broken_text(b"good", b"bad \xff", b"also good")
    assert unreadable_rows(column) == [1]
    assert readable(column).to_pylist() == ["good", "<not UTF-8: bad \\xff>", "also good"]
    assert unreadable_rows(pa.array(["ä", None])) == []


def test_text_that_is_not_utf8_is_found_inside_nested_values() -> None:
    texts = broken_text(b"a", b"\xfe", b"c", b"d")
    lists = pa.ListArray.from_arrays(pa.array([0, 1, None, 2, 4], pa.int32()), texts)
    column = pa.StructArray.from_arrays([lists, pa.array([1, 2, 3, 4])], ["texts", "n"])
    assert unreadable_rows(column) == [1]
    assert json_texts(readable(column)).to_pylist() == [
        '{"texts":["a"],"n":1}',
        '{"texts":["<not UTF-8: \\\\xfe>"],"n":2}',
        '{"texts":null,"n":3}',
        '{"texts":["c","d"],"n":4}',
    ]
    maps = pa.MapArray.from_arrays([0, 1, 2], pa.array(["k", "l"]), texts.slice(0, 2))
    assert unreadable_rows(maps) == [1]
    assert json_texts(readable(maps)).to_pylist() == ['{"k":"a"}', '{"l":"<not UTF-8: \\\\xfe>"}']
