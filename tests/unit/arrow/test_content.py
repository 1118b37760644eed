"""What makes two uploads the same item."""

from __future__ import annotations

import json
from itertools import product

import orjson
import pytest

from blade_server.arrow.content import content_digest, same_item

ITEM = {
    "itemId": "a",
    "dataType": "t",
    "data": {"n": 1, "job": "welder"},
    "classification": "UNCLASS",
    "lastModified": None,
    "metadata": {"source": "s", "job": "job-1"},
}


def file(**changes: object) -> bytes:
    return orjson.dumps(ITEM | changes)


@pytest.mark.parametrize(
    "other",
    [
        file(),
        file(metadata={"source": "s", "job": "job-2"}),
        file(metadata={"source": "s"}),
        orjson.dumps(dict(reversed(ITEM.items())), option=orjson.OPT_INDENT_2),
    ],
)
def test_the_job_the_spaces_and_the_order_of_names_make_no_difference(other):
    assert same_item(file(), other)
    assert same_item(other, file())


@pytest.mark.parametrize(
    "other",
    [
        file(itemId="b"),
        file(data={"n": 2, "job": "welder"}),
        file(data={"n": 1, "job": "painter"}),
        file(data={"n": 1.0, "job": "welder"}),
        file(data={"n": "1", "job": "welder"}),
        file(data={"n": ["1"], "job": "welder"}),
        file(classification="CUI"),
        file(lastModified="2024-01-10T10:00:00Z"),
        file(metadata={"source": "other", "job": "job-1"}),
        file(metadata={"source": "s", "job": "job-1", "more": "x"}),
        file(metadata=["job-1"]),
        file(more=1),
        b"[]",
        b"{",
        b"\xff",
        b"[" * 99_999,
    ],
)
def test_any_other_difference_is_another_content(other):
    assert not same_item(file(), other)
    assert not same_item(other, file())


def test_numbers_are_compared_as_they_are_written():
    written = b'{"metadata":{},"x":1.10,"y":12345678901234567890}'
    assert same_item(written, b'{ "y": 12345678901234567890, "x": 1.10, "metadata": {"job": "2"} }')
    assert not same_item(written, b'{"metadata":{},"x":1.1,"y":12345678901234567890}')
    assert not same_item(written, b'{"metadata":{},"x":1.10,"y":12345678901234567891}')


VALUES = [
    *(None, True, False, 0, 1, 10, "", "1", "1.0", "a", "\0", "\ud800", "\ud801", [], {}),
    *([1], ["1"], [[1]], {"a": 1}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": {"b": None}}, {"\ud800": 1}),
]


def test_digests_are_equal_where_items_are_the_same():
    for one, other in product(VALUES, VALUES):
        first = json.dumps({"data": one, "metadata": {"job": "a"}}).encode()
        second = json.dumps({"metadata": {"job": "b"}, "data": other}, indent=1).encode()
        equal = same_item(first, second)
        assert (content_digest(first) == content_digest(second)) == equal, (one, other)
        assert equal or one is not other


def test_numbers_are_digested_as_they_are_written_and_what_is_no_json_has_no_digest():
    digests = {content_digest(b'{"data": {"n": %s}}' % n) for n in (b"1", b"1.0", b"1.00", b"10e-1", b'"1"', b"[1]")}
    assert len(digests) == 6
    assert {content_digest(b"{"), content_digest(b'{"n": NaN}'), content_digest(b"\xff")} == {None}
