"""Uploads into the sandbox catalog: what arrives is what was sent, in requests the catalog takes."""

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import requests

from blade_server.arrow.items import Items
from blade_server.catalog import Capabilities, Catalog, Uploaded, encode
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable

ODD_IDS = ["a/b", ".", "..", "%2F", "ü ☃ 💥", 'q"uote', "line\r\nbreak", "nul\0", "a?b#c&d=e", " ", "x" * 5000]


def held(sandbox, data_source="BLADE:m"):
    items, after = [], ""
    while after is not None:
        query = {"dataSource": data_source, "include": "file", "limit": 5000, "after": after}
        page = requests.get(sandbox.url + "/v1/items", params=query, timeout=60).json()
        items += page["items"]
        after = page.get("next")
    return items


def test_a_batch_arrives_whole(catalog, sandbox, make_item):
    items = [make_item(f"{n:03d}", data_json=b'{"n":%d}' % n) for n in range(100)]
    uploaded = catalog.upload("BLADE:m", items)
    assert [(u.item_id, u.replaced, u.rejection, u.retry) for u in uploaded] == [
        (item.item_id, False, None, False) for item in items
    ]
    assert [item["file"] for item in held(sandbox)] == [
        {
            "itemId": item.item_id,
            "dataType": "maintenance",
            "data": json.loads(item.data_json),
            "classification": "UNCLASS",
            "lastModified": "2024-01-10T10:00:00Z",
            "metadata": dict(item.metadata),
        }
        for item in items
    ]
    assert sandbox.status()["uploads"] == 1
    assert sum(u.bytes for u in uploaded) > sum(len(item.data_json) for item in items)


def test_a_second_upload_replaces(catalog, make_item):
    assert not catalog.upload("BLADE:m", [make_item("a")])[0].replaced
    assert [u.replaced for u in catalog.upload("BLADE:m", [make_item("b"), make_item("a")])] == [False, True]
    assert catalog.upload("BLADE:m", [make_item("b", data_json=b"{}")])[0].replaced


def test_nothing_to_upload_sends_nothing(catalog, sandbox, make_item):
    nothing = encode("BLADE:m", Items.of([make_item("a")])).cut(0, 0)
    assert Catalog.upload(catalog, nothing) == Uploaded()
    assert sandbox.status()["uploads"] == 0


@pytest.mark.parametrize("lookup", [True, False])
@pytest.mark.parametrize("batch", [True, False])
def test_odd_ids_and_values_arrive_as_they_are_and_are_found_again(start, connect, make_item, batch, lookup):
    sandbox = start(batch=batch, lookup=lookup)
    catalog = connect(sandbox.url)
    metadata = {odd: odd for odd in ODD_IDS}
    items = [make_item(odd, classification=odd, metadata=metadata) for odd in ODD_IDS]
    uploaded = catalog.upload("BLADE:ö/x", items)
    assert [u.rejection for u in uploaded] == [None] * len(items)
    found = {item["itemId"]: item for item in held(sandbox, "BLADE:ö/x")}
    assert found.keys() == set(ODD_IDS)
    for odd in ODD_IDS:
        assert (found[odd]["classification"], found[odd]["metadata"]) == (odd, metadata)
    assert catalog.existing("BLADE:ö/x", [*ODD_IDS, "other", "\ud800"]) == set(ODD_IDS)
    assert catalog.existing("BLADE:other", ODD_IDS) == set()


def test_a_single_item_is_found_with_a_look_up_of_its_own(catalog, make_item):
    assert catalog.existing("BLADE:m", ["a"]) == set()
    catalog.upload("BLADE:m", [make_item("a")])
    assert catalog.existing("BLADE:m", ["a"]) == {"a"}
    assert catalog.existing("BLADE:m", []) == set()


def test_thousands_of_ids_are_looked_up(catalog, make_item):
    catalog.upload("BLADE:m", [make_item(str(n)) for n in range(450)])
    assert catalog.existing("BLADE:m", [str(n) for n in range(2500)]) == {str(n) for n in range(450)}


def test_more_than_a_request_takes_goes_in_several(start, connect, make_item):
    sandbox = start(max_request_bytes=10_000, max_batch_items=7)
    catalog = connect(sandbox.url)
    can = catalog.capabilities()
    assert can == Capabilities(
        max_batch_items=7,
        max_request_bytes=10_000,
        can_look_up=True,
        replaces=True,
        honours_keys=True,
        deletes=True,
        max_delete_items=500,
        lists=True,
        catalog_id=can.catalog_id,
    )
    assert can.catalog_id
    items = [make_item(f"{n:02d}", data_json=b'{"x":"%b"}' % (b"x" * (100 if n < 14 else 3000))) for n in range(20)]
    uploaded = catalog.upload("BLADE:m", items)
    assert [u.rejection for u in uploaded] == [None] * 20
    assert [u.item_id for u in uploaded] == [item.item_id for item in items]
    assert len(held(sandbox)) == 20
    assert sandbox.status()["uploads"] == 2 + 3


def test_an_item_that_fits_no_request_is_refused_without_sending_it(start, connect, make_item):
    sandbox = start(max_request_bytes=10_000)
    catalog = connect(sandbox.url)
    large = make_item("large", data_json=b'{"x":"%b"}' % (b"x" * 10_000))
    uploaded = catalog.upload("BLADE:m", [make_item("a"), large, make_item("c")])
    assert [u.rejection is None for u in uploaded] == [True, False, True]
    assert "10000 in a request" in uploaded[1].rejection
    with pytest.raises(CatalogRejected, match="10000 in a request"):
        catalog.upload("BLADE:m", [large])
    assert sandbox.status()["uploads"] == 1


def test_the_largest_body_a_request_may_have_is_taken(start, connect, make_item):
    sandbox = start(max_request_bytes=4000)
    catalog = connect(sandbox.url)
    fixed = catalog.upload("BLADE:m", [make_item("a", data_json=b"{}")])[0].bytes
    row = b'{"x":"%b"}' % (b"x" * (4000 - fixed - 38 - 6))  # 38: the closing boundary
    uploaded = catalog.upload("BLADE:m", [make_item("a", data_json=row)])
    assert uploaded[0].bytes + 38 == 4000
    with pytest.raises(CatalogRejected, match="4000 in a request"):
        catalog.upload("BLADE:m", [make_item("a", data_json=row.replace(b"x", b"xx", 1))])


def test_a_catalog_without_batches_gets_one_request_an_item(start, connect, make_item):
    sandbox = start(batch=False, lookup=False)
    catalog = connect(sandbox.url)
    assert catalog.capabilities().max_batch_items == 1
    sandbox.set_faults(reject_ids=["b"])
    uploaded = catalog.upload("BLADE:m", [make_item("a"), make_item("b"), make_item("c")])
    assert [u.rejection is None for u in uploaded] == [True, False, True]
    assert "(422): sandbox fault: reject_ids" in uploaded[1].rejection
    assert sandbox.status()["uploads"] == 3
    assert catalog.existing("BLADE:m", ["a", "b", "c"]) == {"a", "c"}


def test_a_rejected_item_leaves_the_rest_of_its_batch_stored(catalog, sandbox, make_item):
    sandbox.set_faults(reject_ids="^b")
    uploaded = catalog.upload("BLADE:m", [make_item(i) for i in ("a", "b1", "c", "b2")])
    assert [u.rejection is None for u in uploaded] == [True, False, True, False]
    assert not any(u.retry for u in uploaded)
    assert [item["itemId"] for item in held(sandbox)] == ["a", "c"]
    with pytest.raises(CatalogRejected, match=r"\(422\): sandbox fault: reject_ids"):
        catalog.upload("BLADE:m", [make_item("b1")])


def test_an_item_the_catalog_cannot_read_is_that_items_rejection(catalog, make_item):
    uploaded = catalog.upload("BLADE:m", [make_item("a"), make_item("b", data_json=b"{no json"), make_item("c")])
    assert [u.rejection is None for u in uploaded] == [True, False, True]
    assert "file is not JSON" in uploaded[1].rejection


def test_the_same_items_of_a_scope_have_the_same_key_and_any_others_another(start, connect, make_item):
    sandbox = start(replace=False)
    catalog = connect(sandbox.url)

    def copies(*ids, data_source="BLADE:m", scope="job-1/1"):
        catalog.upload(data_source, [make_item(item_id) for item_id in ids], scope=scope)
        return sandbox.status()["copies"]

    assert copies("a", "b") == copies("a", "b") == 2
    connect(sandbox.url).upload("BLADE:m", [make_item("a"), make_item("b")], scope="job-1/1")
    assert sandbox.status()["copies"] == 2
    assert copies("a", "c") == 4
    assert copies("a") == copies("a") == 5
    assert copies("a", "b", data_source="BLADE:n") == 7
    assert copies("a", "b", scope="job-1/2") == 9


def test_a_lost_reply_says_that_the_items_may_be_there(start, connect, make_item):
    sandbox = start(replace=False)
    catalog = connect(sandbox.url)
    items = [make_item("a"), make_item("b")]
    sandbox.set_faults(drop_reply={"count": 1})
    with pytest.raises(CatalogUnavailable) as caught:
        catalog.upload("BLADE:m", items)
    assert caught.value.maybe_stored
    assert not caught.value.throttled
    assert sandbox.status()["uploads"] == 1
    assert catalog.existing("BLADE:m", ["a", "b"]) == {"a", "b"}
    assert [u.rejection for u in catalog.upload("BLADE:m", items)] == [None, None]
    assert sandbox.status()["copies"] == 2


def test_a_reset_after_the_body_is_not_sent_again_by_itself(catalog, sandbox, make_item):
    sandbox.set_faults(reset_after_body={"count": 1})
    with pytest.raises(CatalogUnavailable) as caught:
        catalog.upload("BLADE:m", [make_item("a")])
    assert caught.value.maybe_stored
    status = sandbox.status()
    assert (status["uploads"], status["copies"]) == (1, 0)
    assert catalog.upload("BLADE:m", [make_item("a")])[0].rejection is None


def test_a_catalog_that_hangs_is_given_up_after_the_time_limit(sandbox, connect, make_item):
    catalog = connect(sandbox.url, timeout_s=0.3, connections=1)
    sandbox.set_faults(hang={"count": 2})
    for _ in range(2):
        with pytest.raises(CatalogUnavailable, match="did not answer in time") as caught:
            catalog.upload("BLADE:m", [make_item("a")])
        assert caught.value.maybe_stored
    assert catalog.upload("BLADE:m", [make_item("a")])[0].rejection is None


def test_a_throttling_catalog_says_how_long_to_wait(catalog, sandbox, make_item):
    catalog.capabilities()
    for code in (429, 503):
        sandbox.set_faults(status={"code": code, "count": 1, "retry_after": 3})
        with pytest.raises(CatalogUnavailable) as caught:
            catalog.upload("BLADE:m", [make_item("a"), make_item("b")])
        assert (caught.value.throttled, caught.value.retry_after_s, caught.value.maybe_stored) == (True, 3.0, False)


def test_a_failing_catalog_may_have_stored(catalog, sandbox, make_item):
    catalog.capabilities()
    sandbox.set_faults(status={"code": 500, "count": 1})
    with pytest.raises(CatalogUnavailable, match=r"failed \(500\): sandbox fault") as caught:
        catalog.upload("BLADE:m", [make_item("a")])
    assert caught.value.maybe_stored


def test_a_rejected_batch_is_raised_as_a_whole(catalog, sandbox, make_item):
    catalog.capabilities()
    sandbox.set_faults(status={"code": 413, "count": 1})
    with pytest.raises(CatalogRejected):
        catalog.upload("BLADE:m", [make_item("a"), make_item("b")])


def test_a_wrong_token_is_denied_without_being_shown(start, connect, make_item):
    sandbox = start(token="right-one")
    for token in (None, "wrong-one"):
        catalog = connect(sandbox.url, token)
        calls = [
            catalog.probe,
            catalog.capabilities,
            lambda c=catalog: c.existing("BLADE:m", ["a"]),
            lambda c=catalog: c.upload("BLADE:m", [make_item("a")]),
        ]
        for call in calls:
            with pytest.raises(CatalogDenied, match="BLADE_CATALOG_TOKEN") as caught:
                call()
            assert "wrong-one" not in str(caught.value)
    assert connect(sandbox.url, "right-one").upload("BLADE:m", [make_item("a")])[0].rejection is None


def test_a_later_request_that_fails_does_not_hide_what_the_first_one_stored(start, connect, make_item):
    sandbox = start(max_batch_items=2, replace=False)
    catalog = connect(sandbox.url)
    items = [make_item(i) for i in "abcde"]
    # Only the second request is struck: the single upload of the last item.
    sandbox.set_faults(status={"code": 429, "only": "single", "count": 1})
    with pytest.raises(CatalogUnavailable) as caught:
        catalog.upload("BLADE:m", items)
    assert (caught.value.maybe_stored, caught.value.throttled) == (True, True)
    missing = {item.item_id for item in items} - catalog.existing("BLADE:m", [item.item_id for item in items])
    assert missing == {"e"}
    sandbox.set_faults(status={"code": 403, "only": "single", "count": 1})
    uploaded = catalog.upload("BLADE:m", items, scope="again")
    assert [(u.rejection is None, u.retry) for u in uploaded] == [(True, False)] * 4 + [(False, True)]
    sandbox.set_faults(status={"code": 403, "only": "batch", "count": 1})
    with pytest.raises(CatalogDenied):
        catalog.upload("BLADE:m", items)


def test_many_threads_share_one_catalog(sandbox, connect, make_item):
    catalog = connect(sandbox.url, connections=8)

    def upload(thread: int) -> int:
        for batch in range(10):
            items = [make_item(f"{thread}-{batch}-{n}") for n in range(20)]
            assert [u.item_id for u in catalog.upload("BLADE:m", items)] == [item.item_id for item in items]
        return 200

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(upload, range(8))) == 1600
    status = sandbox.status()
    assert (status["items"], status["copies"]) == (1600, 1600)


def test_more_threads_than_connections_wait_for_their_turn(sandbox, connect, make_item):
    catalog = connect(sandbox.url, connections=2)
    sandbox.set_faults(latency_ms=20)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: catalog.upload("BLADE:m", [make_item(str(n))])[0].rejection, range(24)))
    assert done == [None] * 24
    assert sandbox.status()["max_concurrent"] == 2


def test_the_path_of_an_item_is_one_that_others_understand(catalog, sandbox, make_item):
    catalog.upload("BLADE:m", [make_item("a b/c")])
    url = f"{sandbox.url}/v1/items/{quote('BLADE:m', safe='')}/{quote('a b/c', safe='')}"
    assert requests.get(url, timeout=60).json()["itemId"] == "a b/c"


@pytest.mark.parametrize("replace", [True, False])
def test_an_older_item_of_the_same_id_is_not_taken_for_the_one_just_sent(start, connect, make_item, replace):
    catalog = connect(start(replace=replace).url)
    older = [make_item("a", data_json=b'{"n":1}'), make_item("b/.."), make_item("c")]
    catalog.upload("BLADE:m", older)
    newer = [make_item("a", data_json=b'{"n":2}'), older[1], make_item("d")]
    assert catalog.existing("BLADE:m", ["a", "b/..", "d"]) == {"a", "b/.."}
    assert catalog.stored("BLADE:m", newer) == {"b/.."}
    catalog.upload("BLADE:m", newer[:1])
    assert catalog.stored("BLADE:m", newer) == {"a", "b/.."}
    assert catalog.stored("BLADE:m", older) == {"b/..", "c"}


def test_any_difference_of_an_item_is_another_content(catalog, make_item):
    catalog.upload("BLADE:m", [make_item("a", data_json=b'{"x":1.10,"y":12345678901234567890}')])
    same = make_item("a", data_json=b'{ "x": 1.10, "y": 12345678901234567890 }')
    assert catalog.stored("BLADE:m", [same]) == {"a"}
    for row in (b'{"x":1.1,"y":12345678901234567890}', b'{"x":1.10,"y":12345678901234567891}', b"{}", b'{"x":"1.10"}'):
        assert catalog.stored("BLADE:m", [make_item("a", data_json=row)]) == set()
    for fields in ({"classification": "CUI"}, {"metadata": {"source": "2"}}, {"last_modified": None}):
        assert catalog.stored("BLADE:m", [same._replace(**fields)]) == set()


@pytest.mark.parametrize("replace", [True, False])
def test_an_item_counts_as_stored_where_another_job_has_stored_the_same_since(start, connect, make_item, replace):
    catalog = connect(start(replace=replace).url)
    mine = make_item("a", metadata={"source": "s", "job": "job-1"})
    catalog.upload("BLADE:m", [mine], scope="job-1")
    catalog.upload("BLADE:m", [make_item("a", metadata={"source": "s", "job": "job-2"})], scope="job-2")
    assert catalog.stored("BLADE:m", [mine]) == {"a"}
    catalog.upload("BLADE:m", [make_item("a", metadata={"source": "t", "job": "job-3"})], scope="job-3")
    assert catalog.stored("BLADE:m", [mine]) == set()
