"""Deletes: each answered for by itself, done once, and remembered."""

import json
import time
from http.client import HTTPConnection
from urllib.parse import quote

import pytest
import requests
from tests.support.waiting import wait_until

from blade_sandbox.catalog import CatalogServer

ODD_IDS = ["a/b", ".", "..", "%2F", "\u00fc \u2603", 'q"uote', "line\r\nbreak", "nul\0", "semi;colon", "x" * 5000]


def test_an_item_is_gone_once_and_then_unknown(catalog):
    catalog.upload_batch(["a", "b"])
    first, second = catalog.delete("a"), catalog.delete("a")
    assert (first.status_code, first.content) == (204, b"")
    assert second.status_code == 404
    assert (second.json()["itemId"], bool(second.json()["error"])) == ("a", True)
    assert catalog.listed() == ["b"]
    assert catalog.count() == {"items": 1, "copies": 1}
    assert (catalog.deleted("a"), catalog.deleted("b")) == ([204, 404], [])
    status = catalog.status()
    assert (status["deletes"], status["deleted"], status["items"]) == (2, 1, 1)


def test_a_delete_names_the_data_source_too(catalog):
    catalog.upload("a")
    catalog.upload("a", data_source="BLADE:other")
    assert catalog.delete("a", data_source="BLADE:other").status_code == 204
    assert catalog.delete("a", data_source="BLADE:never").status_code == 404
    assert catalog.listed() == ["a"]


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_an_item_is_deleted_by_its_percent_encoded_id(catalog, item_id):
    other = f"{item_id}-2"
    for one in (item_id, other):
        file = json.dumps({"itemId": one, "data": {}})
        assert catalog.upload(one, file=("f", file, "application/json")).status_code == 201
    # Not through requests, which would tidy dots and percent signs away.
    connection = HTTPConnection(catalog.url.removeprefix("http://"), timeout=60)
    try:
        connection.request("DELETE", f"/v1/items/BLADE%3Am/{quote(item_id, safe='').replace('.', '%2E')}")
        assert connection.getresponse().status == 204
    finally:
        connection.close()
    assert catalog.listed() == [other]


@pytest.mark.parametrize("path", ["", "BLADE%3Am", "BLADE%3Am/", "/a", "BLADE%3Am/a/b", "BLADE%3Am/%FF"])
def test_an_address_of_no_item_is_refused_and_says_of_no_item_that_it_is_gone(catalog, path):
    catalog.upload("a")
    connection = HTTPConnection(catalog.url.removeprefix("http://"), timeout=60)
    try:
        connection.request("DELETE", f"/v1/items/{path}")
        answer = connection.getresponse()
        assert answer.status == 400
        assert "percent-encoded" in json.loads(answer.read())["error"]
    finally:
        connection.close()
    assert catalog.count()["items"] == 1


def test_a_batch_answers_for_each_item_in_order(catalog):
    catalog.upload_batch(["a", "b", "c", "locked"])
    catalog.set_faults(locked_ids=["locked"])
    asked = ["b", "x", "locked", "b", {"itemId": "c"}, {"dataSource": "BLADE:m", "itemId": ""}, 7, "a"]
    results = catalog.delete_batch(asked).json()["results"]
    assert [(one["itemId"], one["status"]) for one in results] == [
        ("b", 204),
        ("x", 404),
        ("locked", 409),
        ("b", 404),
        ("c", 400),
        ("", 400),
        (None, 400),
        ("a", 204),
    ]
    assert [("error" in one) == (one["status"] != 204) for one in results] == [True] * 8
    assert catalog.listed() == ["c", "locked"]
    assert catalog.status()["deleted"] == 2


@pytest.mark.parametrize("items", [None, {}, [], "a", 7])
def test_a_batch_of_no_items_is_refused(catalog, items):
    assert requests.post(catalog.url + "/v1/items:batchDelete", json={"items": items}, timeout=60).status_code == 400
    assert requests.post(catalog.url + "/v1/items:batchDelete", data=b"{", timeout=60).status_code == 400


def test_a_batch_of_too_many_items_is_refused_and_deletes_nothing(start):
    catalog = start(max_delete_items=2)
    catalog.upload_batch(["a", "b", "c"])
    assert catalog.delete_batch(["a", "b", "c"]).status_code == 413
    assert catalog.count()["items"] == 3
    assert catalog.statuses(["a", "b"]) == [204, 204]
    assert catalog.get("/v1/capabilities").json()["maxDeleteItems"] == 2


def test_all_copies_of_an_item_go(start):
    catalog = start(replace=False)
    catalog.upload_batch(["a", "a", "b"])
    assert catalog.delete("a").status_code == 204
    assert catalog.count() == {"items": 1, "copies": 1}
    (deleted,) = catalog.get("/sandbox/deletes").json()["deletes"]
    assert (deleted["dataSource"], deleted["itemId"], deleted["copies"]) == ("BLADE:m", "a", 2)


def test_what_may_not_be_deleted_stays(catalog):
    catalog.upload_batch(["a1", "b"])
    catalog.set_faults(locked_ids="^a")
    refused = catalog.delete("a1")
    assert (refused.status_code, refused.json()["itemId"]) == (409, "a1")
    assert catalog.delete("a2").status_code == 404
    catalog.set_faults(locked_ids=[])
    assert catalog.delete("a1").status_code == 204
    assert catalog.deleted("a1") == [409, 204]


def test_another_item_than_the_one_that_was_seen_is_not_deleted(catalog):
    catalog.upload("a")
    tag = catalog.get("/v1/items/BLADE%3Am/a").headers["ETag"]
    catalog.upload("a", file=("f", '{"itemId": "a", "data": {"n": 2}}', "application/json"))
    assert catalog.delete("a", if_match=tag).status_code == 412
    assert catalog.delete("x", if_match=tag).status_code == 404
    now = catalog.get("/v1/items/BLADE%3Am/a").headers["ETag"]
    wanted = {"dataSource": "BLADE:m", "itemId": "a"}
    assert catalog.statuses([wanted | {"ifMatch": tag}]) == [412]
    assert catalog.count()["items"] == 1
    assert catalog.statuses([wanted | {"ifMatch": f"{tag}, {now}"}]) == [204]
    catalog.upload("a")
    assert catalog.delete("a", if_match="*").status_code == 204


def test_a_delete_under_a_known_key_leaves_what_came_since(catalog):
    catalog.upload_batch(["a", "b"])
    for _ in range(2):
        assert catalog.delete("a", idempotency_key="k1").status_code == 204
        assert catalog.delete_batch(["b", "x"], idempotency_key="k2").json()["results"][0]["status"] == 204
        catalog.upload_batch(["a", "b"])
    assert catalog.listed() == ["a", "b"]
    assert (catalog.deleted("a"), catalog.deleted("b")) == ([204], [204])
    assert catalog.status()["replayed"] == 2


def test_the_key_of_an_upload_is_none_of_a_delete(catalog):
    catalog.upload("a", headers={"Idempotency-Key": "k"})
    assert catalog.delete("a", idempotency_key="k").status_code == 204
    assert catalog.count()["items"] == 0


def test_a_delete_that_was_refused_is_judged_anew_under_the_same_key(catalog):
    catalog.upload("a")
    catalog.set_faults(locked_ids=["a"])
    assert catalog.delete("a", idempotency_key="k").status_code == 409
    catalog.set_faults(locked_ids=[])
    assert catalog.delete("a", idempotency_key="k").status_code == 204


def test_deletes_want_the_token(start):
    catalog = start(token="secret-1")
    assert catalog.delete("a").status_code == 401
    assert catalog.delete_batch(["a"]).status_code == 401
    assert catalog.get("/sandbox/deletes").status_code == 401
    assert catalog.delete("a", authorization="Bearer secret-1").status_code == 404


def test_a_catalog_without_deletes_says_so_and_never_that_an_item_is_gone(start):
    catalog = start(deletes=False)
    catalog.upload("a")
    told = catalog.get("/v1/capabilities").json()
    assert (told["deletes"], "maxDeleteItems" in told) == (False, False)
    assert (catalog.delete("a").status_code, catalog.delete_batch(["a"]).status_code) == (405, 404)
    assert catalog.count()["items"] == 1


def test_a_catalog_that_deletes_one_by_one_says_so(start):
    catalog = start(batch_delete=False)
    assert catalog.get("/v1/capabilities").json()["maxDeleteItems"] == 1
    assert catalog.delete_batch(["a"]).status_code == 404
    assert catalog.delete("a").status_code == 404


def test_a_catalog_can_lose_a_function_and_get_it_back(catalog):
    catalog.upload("a")
    catalog.set_faults(without=["deletes", "list"])
    told = catalog.get("/v1/capabilities").json()
    assert (told["deletes"], told["list"]) == (False, False)
    assert (catalog.delete("a").status_code, catalog.delete_batch(["a"]).status_code) == (405, 404)
    assert catalog.get("/v1/items", params={"dataSource": "BLADE:m"}).status_code == 405
    catalog.set_faults(without=["batch_delete"])
    assert catalog.get("/v1/capabilities").json()["maxDeleteItems"] == 1
    assert catalog.delete_batch(["a"]).status_code == 404
    catalog.set_faults(without=[])
    assert catalog.statuses(["a"]) == [204]


def test_deletes_are_kept_with_the_items(tmp_path):
    for expected in ([204], [204, 404]):
        with CatalogServer(directory=tmp_path) as server:
            if expected == [204]:
                file = ("f", '{"itemId": "a", "data": {}}', "application/json")
                form = {"file": file} | {
                    name: (None, value)
                    for name, value in {
                        "dataSource": "BLADE:m",
                        "classification": "U",
                        "metadata": "{}",
                        "timestamp": "2024-01-10T10:00:00Z",
                    }.items()
                }
                requests.post(server.url + "/v1/items", files=form, timeout=60).raise_for_status()
            requests.delete(server.url + "/v1/items/BLADE%3Am/a", timeout=60)
            assert [one["status"] for one in server.deleted("BLADE:m", "a")] == expected
            assert server.deleted("BLADE:other") == []
            assert server.status()["deleted"] == int(expected == [204])


# ---------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("only", ["delete", "delete_single", "delete_batch"])
def test_a_status_can_be_kept_to_deletes(catalog, only):
    catalog.upload("a")
    catalog.set_faults(status={"code": 503, "retry_after": 2, "only": only})
    struck = {"delete": (503, 503), "delete_single": (503, 200), "delete_batch": (204, 503)}[only]
    batch = catalog.delete_batch(["a"]).status_code
    assert (catalog.delete("a").status_code, batch) == struck
    assert catalog.upload("b").status_code == 201


@pytest.mark.parametrize("code", [200, 204])
def test_a_catalog_that_only_says_that_it_deletes_has_the_item_still(catalog, code):
    catalog.upload("a")
    catalog.set_faults(status={"code": code, "only": "delete"})
    answer = catalog.delete("a")
    assert answer.status_code == code
    assert ("error" in answer.text) == (code == 200)
    assert catalog.listed() == ["a"]
    assert catalog.deleted("a") == []


def test_a_dropped_reply_leaves_the_item_deleted(catalog):
    catalog.upload("a")
    catalog.set_faults(drop_reply={"count": 1, "only": "delete"})
    with pytest.raises(requests.ConnectionError):
        catalog.delete("a")
    assert (catalog.listed(), catalog.deleted("a")) == ([], [204])


def test_a_reset_after_the_body_deletes_nothing(catalog):
    catalog.upload("a")
    catalog.set_faults(reset_after_body={"count": 1, "only": "delete_batch"})
    with pytest.raises(requests.ConnectionError):
        catalog.delete_batch(["a"])
    assert (catalog.listed(), catalog.deleted("a")) == (["a"], [])


def test_results_that_are_missing_were_done_all_the_same(catalog):
    catalog.upload_batch(["a", "b", "c"])
    catalog.set_faults(short_results={"results": 2, "count": 1})
    assert catalog.statuses(["a", "b", "c"]) == [204]
    assert catalog.listed() == []
    catalog.set_faults(short_results={"count": 1, "only": "batch"})
    assert len(catalog.upload_batch(["a", "b", "c"]).json()["results"]) == 2


def test_a_gateway_that_gives_up_leaves_the_catalog_at_work(catalog):
    catalog.upload_batch(["a", "b"])
    catalog.set_faults(late={"after_ms": 300, "count": 2, "only": "delete"})
    assert (catalog.delete("a").status_code, catalog.delete_batch(["b"]).status_code) == (504, 504)
    asked_at = time.monotonic()
    assert catalog.listed() == ["a", "b"] or time.monotonic() - asked_at > 0.3
    wait_until(lambda: catalog.listed() == [])
    assert (catalog.deleted("a"), catalog.deleted("b")) == ([204], [204])


def test_a_list_is_struck_where_it_is_named(catalog):
    catalog.upload("a")
    catalog.set_faults(status={"code": 500})
    assert catalog.listed() == ["a"]
    catalog.set_faults(status={"code": 429, "only": "list", "count": 1})
    assert catalog.get("/v1/items", params={"dataSource": "BLADE:m"}).status_code == 429
    assert catalog.listed() == ["a"]


@pytest.mark.parametrize(
    "faults",
    [
        {"without": ["deletion"]},
        {"without": "deletes"},
        {"late": {"code": 99}},
        {"late": {"after_s": 1}},
        {"short_results": {"results": -1}},
        {"locked_ids": "("},
    ],
)
def test_an_unknown_fault_is_refused(catalog, faults):
    assert catalog.set_faults(**faults).status_code == 400
    assert catalog.get("/sandbox/faults").json()["faults"] == {}


def test_all_of_them_are_shown(catalog):
    faults = {"late": {"count": 1}, "short_results": {}, "locked_ids": ["x"], "without": ["list", "batch"]}
    catalog.set_faults(**faults)
    shown = catalog.get("/sandbox/faults").json()["faults"]
    assert (shown["late"][0]["code"], shown["late"][0]["after_ms"], shown["short_results"][0]["results"]) == (504, 0, 1)
    assert (shown["locked_ids"], shown["without"]) == (["x"], ["batch", "list"])
