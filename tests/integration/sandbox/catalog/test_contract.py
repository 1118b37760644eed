"""The routes of the contract, each as an outsider sees it."""

import json
import uuid
from http.client import HTTPConnection
from urllib.parse import quote

import pytest
import requests

ODD_IDS = ["a/b", "..", "%2F", "ü ☃", 'q"uote', "line\r\nbreak", "nul\0", "semi;colon", "x" * 5000]


def test_an_upload_is_created_and_then_replaced(catalog):
    first, second = catalog.upload("a"), catalog.upload("a")
    assert (first.status_code, first.json()) == (201, {"itemId": "a", "outcome": "CREATED"})
    assert (second.status_code, second.json()) == (200, {"itemId": "a", "outcome": "REPLACED"})
    assert catalog.count() == {"items": 1, "copies": 1}


def test_a_catalog_that_appends_holds_every_copy_of_an_item(start):
    catalog = start(replace=False)
    assert [catalog.upload("a").status_code for _ in range(3)] == [201, 201, 201]
    assert catalog.upload_batch(["a", "b", "a"]).status_code == 200
    assert catalog.count() == {"items": 2, "copies": 6}
    listed = catalog.get("/v1/items", params={"dataSource": "BLADE:m"}).json()["items"]
    assert [(item["itemId"], item["copies"]) for item in listed] == [("a", 5), ("b", 1)]


def test_a_batch_answers_for_each_item_in_order(catalog):
    catalog.upload("b")
    results = catalog.upload_batch(["c", "b", "a", "c"]).json()["results"]
    assert [(r["itemId"], r["status"], r["outcome"]) for r in results] == [
        ("c", 201, "CREATED"),
        ("b", 200, "REPLACED"),
        ("a", 201, "CREATED"),
        ("c", 200, "REPLACED"),
    ]
    assert catalog.count() == {"items": 3, "copies": 3}


def test_an_item_that_is_wrong_in_itself_leaves_the_rest_of_its_batch_alone(catalog):
    form = [
        *catalog.fields("a"),
        *catalog.fields("b", file=("f", '{"itemId": "b", "data": ')),
        *catalog.fields("c", metadata="[]"),
        *catalog.fields("d"),
    ]
    answer = requests.post(catalog.url + "/v1/items:batch", files=form, timeout=60)
    assert [(r["itemId"], r["status"]) for r in answer.json()["results"]] == [
        ("a", 201),
        (None, 400),
        ("c", 422),
        ("d", 201),
    ]
    assert catalog.count()["items"] == 2


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_an_item_is_found_by_its_percent_encoded_id(catalog, item_id):
    file = json.dumps({"itemId": item_id, "data": {"n": 1}})
    assert catalog.upload(item_id, file=("blade_item.json", file, "application/json")).status_code == 201
    # Not through requests, which would tidy dots and percent signs away.
    connection = HTTPConnection(catalog.url.removeprefix("http://"), timeout=60)
    path = "/v1/items/BLADE%3Am/" + quote(item_id, safe="")
    try:
        connection.request("HEAD", path)
        head = connection.getresponse()
        assert (head.status, head.read()) == (200, b"")
        connection.request("GET", path)
        assert connection.getresponse().read() == file.encode()
        connection.request("GET", path + "?envelope=1")
        envelope = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert (envelope["itemId"], envelope["classification"]) == (item_id, "UNCLASS")
    assert (envelope["metadata"], envelope["timestamp"]) == ({"job": "j1"}, "2024-01-10T10:00:00Z")


def test_an_item_that_was_never_uploaded_is_not_found(catalog):
    catalog.upload("a")
    assert catalog.get("/v1/items/BLADE%3Am/b").status_code == 404
    assert catalog.get("/v1/items/BLADE%3Aother/a").status_code == 404
    assert catalog.session.head(catalog.url + "/v1/items/BLADE%3Am/b", timeout=60).status_code == 404


def test_a_look_up_names_what_is_held_of_that_data_source(catalog):
    catalog.upload_batch([str(n) for n in range(0, 400, 2)])
    catalog.upload("1", data_source="BLADE:other")
    asked = {"dataSource": "BLADE:m", "itemIds": [str(n) for n in range(1000)]}
    found = requests.post(catalog.url + "/v1/items:lookup", json=asked, timeout=60).json()["found"]
    assert found == [str(n) for n in range(0, 400, 2)]


def test_a_look_up_of_more_than_a_thousand_ids_is_refused(catalog):
    asked = {"dataSource": "BLADE:m", "itemIds": ["x"] * 1001}
    assert requests.post(catalog.url + "/v1/items:lookup", json=asked, timeout=60).status_code == 413


def test_the_file_comes_back_byte_for_byte(catalog):
    file = b'{"itemId":"a" ,"data":{"big":12345678901234567890123,"exact":1.10,"odd":"\\u00e9\xc3\xa9"}}'
    catalog.upload("a", file=("blade_item.json", file, "application/json"))
    assert catalog.get("/v1/items/BLADE%3Am/a").content == file
    listed = catalog.get("/v1/items", params={"dataSource": "BLADE:m", "include": "file"})
    assert b'"big":12345678901234567890123,"exact":1.10' in listed.content


def test_data_sources_are_counted_apart_and_one_can_be_emptied(catalog):
    catalog.upload("a")
    catalog.upload_batch(["a", "b"], data_source="BLADE:other")
    assert catalog.get("/v1/dataSources").json() == {
        "dataSources": [
            {"dataSource": "BLADE:m", "items": 1, "copies": 1},
            {"dataSource": "BLADE:other", "items": 2, "copies": 2},
        ]
    }
    requests.delete(catalog.url + "/v1/items", params={"dataSource": "BLADE:other"}, timeout=60)
    assert (catalog.count()["items"], catalog.count("BLADE:other")["items"]) == (1, 0)


def test_capabilities_say_what_was_switched_on(catalog, start, tmp_path):
    told = catalog.get("/v1/capabilities").json()
    assert str(uuid.UUID(told.pop("catalogId")))
    assert told == {
        "maxBatchItems": 500,
        "maxRequestBytes": 33554432,
        "lookup": True,
        "replacesById": True,
        "idempotencyKeys": True,
        "list": True,
        "deletes": True,
        "maxDeleteItems": 500,
    }
    single = start(directory=tmp_path / "single", batch=False)
    assert single.get("/v1/capabilities").json()["maxBatchItems"] == 1
    assert single.upload_batch(["a"]).status_code in {404, 405}
    plain = start(directory=tmp_path / "plain", batch=False, lookup=False)
    assert plain.get("/v1/capabilities").status_code == 404
    assert plain.upload("a").status_code == 201


def test_the_same_key_gets_the_same_answer_and_stores_nothing_twice(start):
    catalog = start(replace=False)
    first = catalog.upload_batch(["a", "b"], headers={"Idempotency-Key": "k1"})
    again = catalog.upload_batch(["a", "b"], headers={"Idempotency-Key": "k1"})
    assert again.json() == first.json()
    assert catalog.count()["copies"] == 2
    assert catalog.status()["replayed"] == 1
    catalog.upload_batch(["a", "b"], headers={"Idempotency-Key": "k2"})
    assert catalog.count()["copies"] == 4


def test_only_so_many_keys_are_remembered(start):
    catalog = start(replace=False, idempotency_keys=2)
    for key in ["k1", "k2", "k3", "k1"]:
        catalog.upload("a", headers={"Idempotency-Key": key})
    assert catalog.count()["copies"] == 4
    catalog.upload("a", headers={"Idempotency-Key": "k3"})
    assert catalog.count()["copies"] == 4


def test_a_rejected_upload_is_judged_anew_under_the_same_key(catalog):
    catalog.set_faults(reject_ids=["a"])
    assert catalog.upload("a", headers={"Idempotency-Key": "k"}).status_code == 422
    catalog.session.delete(catalog.url + "/sandbox/faults", timeout=60)
    assert catalog.upload("a", headers={"Idempotency-Key": "k"}).status_code == 201


def test_an_emptied_data_source_takes_the_same_upload_again(catalog):
    catalog.upload("a", headers={"Idempotency-Key": "k"})
    requests.delete(catalog.url + "/v1/items", params={"dataSource": "BLADE:m"}, timeout=60)
    catalog.upload("a", headers={"Idempotency-Key": "k"})
    assert catalog.count()["items"] == 1
