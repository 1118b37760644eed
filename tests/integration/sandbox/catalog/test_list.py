"""The list of a data source: every item once, in the order of the bytes of the ids, page by page."""

import hashlib
import json

import requests

from blade_sandbox.catalog import CatalogServer, handlers

ODD_IDS = [
    "a/b",
    "..",
    "%2F",
    "Z",
    "a",
    "\u00fc \u2603",
    "\ufffd",
    "\U0001f4a5",
    'q"uote',
    "line\r\nbreak",
    "nul\0",
    "+&=?",
]


def test_pages_list_each_item_once_in_order_of_id(catalog):
    ids = [f"{n:03d}" for n in range(250)]
    catalog.upload_batch(ids[::-1])
    pages = list(catalog.pages(limit=100, include="file"))
    assert [len(page) for page in pages] == [100, 100, 50]
    seen = [item for page in pages for item in page]
    assert [item["itemId"] for item in seen] == ids
    sent = json.dumps({"itemId": "007", "dataType": "m", "data": {"n": 1}}).encode()
    assert (seen[7]["size"], seen[7]["sha256"]) == (len(sent), hashlib.sha256(sent).hexdigest())
    assert seen[7]["file"]["itemId"] == "007"


def test_ids_of_any_kind_are_listed_in_the_order_of_their_bytes(catalog):
    for item_id in ODD_IDS:
        file = json.dumps({"itemId": item_id, "data": {}})
        assert catalog.upload(item_id, file=("f", file, "application/json")).status_code == 201
    assert catalog.listed(limit=1) == sorted(ODD_IDS, key=str.encode)
    assert sorted(ODD_IDS, key=str.encode) != sorted(ODD_IDS, key=lambda item_id: item_id.encode("utf-16-be"))


def test_the_last_page_has_no_next_and_so_has_the_list_of_nothing(catalog):
    assert catalog.get("/v1/items", params={"dataSource": "BLADE:m"}).json() == {"items": []}
    catalog.upload_batch(["a", "b"])
    full = catalog.get("/v1/items", params={"dataSource": "BLADE:m", "limit": 2}).json()
    assert full["next"] == "b"
    after = {"dataSource": "BLADE:m", "limit": 2, "after": "b"}
    assert catalog.get("/v1/items", params=after).json() == {"items": []}
    assert "next" not in catalog.get("/v1/items", params={"dataSource": "BLADE:m", "limit": 3}).json()


def test_items_that_come_and_go_move_no_other_to_another_page(catalog):
    ids = [f"{n:03d}" for n in range(45)]
    catalog.upload_batch(ids)
    seen = []
    for number, page in enumerate(catalog.pages(limit=10)):
        seen += [item["itemId"] for item in page]
        # One that was seen goes, and one comes before the place where the list stands: the next page is the same.
        catalog.delete(page[-1]["itemId"])
        catalog.upload(f"{page[0]['itemId']}-{number}")
    assert seen == ids


def test_a_page_of_large_files_ends_early(catalog, monkeypatch):
    monkeypatch.setattr(handlers, "_MAX_PAGE_BYTES", 10_000)
    for item_id in "abcd":
        file = json.dumps({"itemId": item_id, "data": {"text": "x" * 4000}})
        catalog.upload(item_id, file=("f", file, "application/json"))
    pages = list(catalog.pages(include="file"))
    assert [[item["itemId"] for item in page] for page in pages] == [["a", "b", "c"], ["d"]]
    assert catalog.listed() == list("abcd")


def test_an_item_and_its_line_of_the_list_have_the_same_tag(catalog):
    catalog.upload("a")
    tag = catalog.get("/v1/items/BLADE%3Am/a").headers["ETag"]
    assert tag == f'"{next(catalog.pages())[0]["sha256"]}"'
    assert catalog.session.head(catalog.url + "/v1/items/BLADE%3Am/a", timeout=60).headers["ETag"] == tag


def test_a_catalog_without_a_list_says_so(start):
    catalog = start(listing=False)
    assert catalog.get("/v1/items", params={"dataSource": "BLADE:m"}).status_code == 405
    assert catalog.get("/v1/capabilities").json()["list"] is False


def test_the_id_of_a_catalog_stays_with_what_it_holds(tmp_path):
    def catalog_id(directory):
        with CatalogServer(directory=tmp_path / directory) as server:
            return requests.get(server.url + "/v1/capabilities", timeout=60).json()["catalogId"]

    assert catalog_id("one") == catalog_id("one") != catalog_id("two")
