"""The catalog's list: pages in order, and nothing that cannot be one."""

from __future__ import annotations

import json

import pytest

from blade_server.arrow.content import same_item
from blade_server.errors import CatalogRejected, CatalogUnavailable

CAN = b'{"list": true, "maxBatchItems": 100}'
ODD_IDS = ["a/b", "é", "z", "ü ☃", "💥", "￿", "A", "~"]


def page(*ids, **more):
    return json.dumps({"items": [{"itemId": item_id, "file": {}} for item_id in ids]} | more).encode()


def walked(catalog, **options):
    found, after = [], ""
    while True:
        listing = catalog.list("BLADE:m", after=after, **options)
        found += listing.items
        if not listing.next:
            return found
        after = listing.next


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_all_items_come_once_in_order_of_their_bytes(catalog, make_item, limit):
    catalog.upload("BLADE:m", [make_item(item_id) for item_id in ODD_IDS])
    catalog.upload("BLADE:other", [make_item("b")])
    found = walked(catalog, limit=limit)
    assert [item_id for item_id, _ in found] == sorted(ODD_IDS, key=str.encode)


def test_files_are_as_they_were_written(catalog, make_item):
    data = '{"text":"ü \\u00fc","wide":1.10,"large":123456789012345678901234567890,"e":1e5}'.encode()
    catalog.upload("BLADE:m", [make_item("a", data_json=data)])
    ((_, file),) = catalog.list("BLADE:m").items
    assert b"1.10" in file
    assert b"123456789012345678901234567890" in file
    with_data = b'{"itemId":"a","dataType":"maintenance","data":%b,"classification":"UNCLASS",' % data
    rest = b'"lastModified":"2024-01-10T10:00:00Z","metadata":{"source":"maintenance","job":"other"}}'
    assert same_item(file, with_data + rest)


def test_without_files_only_ids_come(catalog, make_item):
    catalog.upload("BLADE:m", [make_item("a")])
    assert catalog.list("BLADE:m", files=False).items == [("a", b"")]
    assert catalog.list("BLADE:none").items == []


def test_a_catalog_without_lists_says_so(start, connect):
    with pytest.raises(CatalogRejected, match="lists no items"):
        connect(start(listing=False).url).list("BLADE:m")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"items": {}}',
        b'{"items": [1]}',
        b'{"items": [{"file": {}}]}',
        b'{"items": [{"itemId": ""}]}',
        b'{"items": [{"itemId": 1, "file": {}}]}',
        b'{"items": [{"itemId": "b"}]}',
        b'{"items": [{"itemId": "b", "file": {}}',
        b'{"items": [], "error": "shard down"}',
        b'{"items": []} more',
        b'{"items": [' + b"[" * 100_000,
        page("b", "b"),
        page("c", "b"),
        page("a"),
        page("\ud800"),
        page("b", next="a"),
        page("b", "c", next="b"),
        page(next="b"),
        page("b", next=1),
        b'{"items": [{"itemId": "\xff", "file": {}}]}',
    ],
    ids=range(22),
)
def test_a_page_that_cannot_be_right_is_an_error(connect, scripted, whole_reply, body):
    server = scripted(whole_reply(200, body))
    server.CAPABILITIES = CAN
    with pytest.raises(CatalogUnavailable) as caught:
        connect(server.url).list("BLADE:m", after="a")
    assert not caught.value.maybe_stored


def test_a_list_that_is_gone_is_asked_for_anew(connect, scripted, whole_reply):
    server = scripted(whole_reply(404), whole_reply(200, page("b")))
    server.CAPABILITIES = CAN
    catalog = connect(server.url)
    with pytest.raises(CatalogUnavailable, match="no lists any more"):
        catalog.list("BLADE:m")
    server.CAPABILITIES = b"{}"
    with pytest.raises(CatalogRejected):
        catalog.list("BLADE:m")


def test_of_files_that_are_too_large_for_one_answer_fewer_are_asked_for(connect, make_item, start):
    catalog = connect(start().url, timeout_s=30.0)
    large = b'{"text":"%b"}' % (b"x" * 3_000_000)
    for item_id in "abcdefgh":
        catalog.upload("BLADE:m", [make_item(item_id, data_json=large)])
    found = walked(catalog)
    assert [item_id for item_id, _ in found] == list("abcdefgh")
