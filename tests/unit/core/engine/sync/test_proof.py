"""Rows beside the items of a catalog, by key and digest."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from blade_server.arrow.items import Items
from blade_server.core.engine.ledger import Admissions, Verdict, item_keys
from blade_server.core.engine.sync.differences import MAX_VALUE_BYTES, differences
from blade_server.core.engine.sync.proof import Rows, content_of, keys_of
from blade_server.core.engine.sync.samples import MAX_SAMPLES, Samples
from blade_server.core.engine.sync.verified import Repair
from blade_server.model import Item
from blade_server.model.sync import ChangeKind


def keys(*ids):
    return keys_of(pa.array(ids, pa.string()))


def contents(*values):
    return np.array([content_of(b'{"v": %d}' % value) for value in values], np.uint64)


def taken(*rows, rejected=()):
    found = Rows(1)
    for item_id, value in rows:
        found.add(keys(item_id), contents(value))
    found.add_rejected(keys(*rejected))
    found.sort()
    return found


def test_missing_different_equal_and_extra():
    rows = taken(("a", 1), ("b", 2), ("c", 3), rejected=["r"])
    extra = rows.meet(keys("a", "b", "r", "x"), contents(1, 9, 1, 1))
    assert extra.tolist() == [False, False, False, True]
    assert rows.counts() == (1, 1, 1)
    (place,) = rows.find(keys("b"))
    rows.settle(place, b'{"v":2}')
    assert rows.counts() == (1, 0, 2)
    rows.settle(place, None)
    assert rows.counts() == (2, 0, 1)
    rows.settle(place, b"")
    assert rows.counts() == (1, 0, 2)


def test_of_rows_with_one_id_each_is_as_good_as_the_others():
    for value, equal in ((1, 1), (2, 1), (3, 0)):
        rows = taken(*[("a", 1), ("a", 2)] * 600)
        rows.meet(keys("a"), contents(value))
        assert rows.counts() == (0, 1 - equal, equal)


def test_what_is_no_json_is_equal_to_nothing():
    rows = Rows(1)
    rows.add(keys("a"), np.array([content_of(b"{")], np.uint64))
    rows.sort()
    rows.meet(keys("a"), np.array([content_of(b"{")], np.uint64))
    assert rows.counts() == (0, 1, 0)


def test_samples_are_those_with_the_least_ids_whatever_the_order():
    samples = Samples()
    for begin in (500, 0, 250):
        many = [Item(f"{at:04}", "t", b"{}", "U", None, {}) for at in range(begin, begin + 250)]
        samples.add_items(ChangeKind.CREATE, Items.of(many))
    assert [one.item_id for one in samples.of(ChangeKind.CREATE)] == [f"{at:04}" for at in range(MAX_SAMPLES)]


def test_fields_that_differ_are_named_and_cut():
    before = b'{"data": {"a": 1.0, "b": [1], "gone": null}, "metadata": {"job": "x"}, "classification": "U"}'
    after = b'{"classification": "S", "data": {"b": [1], "a": 1.00, "new": "%s"}, "metadata": {"job": "y"}}' % (
        b"x" * 9999
    )
    found = {one.field: (one.before, one.after) for one in differences(before, after)}
    assert found.pop("data.new")[1] == '"' + "x" * (MAX_VALUE_BYTES - 1)
    assert found == {"classification": ('"U"', '"S"'), "data.a": ("1.0", "1.00"), "data.gone": ("null", "")}
    assert differences(b"", after) == []


@pytest.mark.parametrize("before", [(), (("a", 1),)])
def test_rows_that_a_view_did_not_show_before_are_missing_for_a_repair(before):
    rows = taken(*before)
    rows.meet(keys(*(item_id for item_id, _ in before)), contents(*(value for _, value in before)))
    items = Items.of([Item(item_id, "t", b"{}", "UNCLASS", None, {}) for item_id in ("a", "b")])
    ids = item_keys(items.ids)
    admitted = Admissions(ids, np.full(2, Verdict.NEW, np.uint8), np.zeros(2, np.bool_))
    samples = Samples()
    chunk = Repair(rows, samples).compare(items, ids, admitted, [])
    created = [sample.item_id for sample in samples.of(ChangeKind.CREATE)]
    assert chunk.items.item_ids == created == [one for one in ("a", "b") if one not in dict(before)]
