"""Input that is wrong is refused with a reason, and nothing of it is stored."""

import select
import socket
from contextlib import ExitStack

import pytest
import requests

GOOD = b"multipart/form-data; boundary=B"


def part(name: str, content: str) -> bytes:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n'.encode()


WHOLE = (
    part("file", '{"itemId": "a", "data": {}}')
    + part("dataSource", "BLADE:m")
    + part("classification", "U")
    + part("metadata", "{}")
    + part("timestamp", "2024-01-10T10:00:00.123456+00:00")
    + b"--B--\r\n"
)


def post(catalog, body: bytes, content_type: bytes = GOOD, path: str = "/v1/items") -> requests.Response:
    return requests.post(catalog.url + path, data=body, headers={"Content-Type": content_type}, timeout=60)


def test_the_form_of_these_tests_is_accepted(catalog):
    assert post(catalog, WHOLE).status_code == 201
    assert post(catalog, b"a preamble\r\n" + WHOLE + b"an epilogue").status_code == 200
    assert post(catalog, WHOLE.replace(b"\r\n\r\n", b"\r\nX-More: yes\r\n\r\n")).status_code == 200


@pytest.mark.parametrize(
    ("status", "says", "form"),
    [
        (400, "missing part 'classification'", {"classification": None}),
        (400, "missing part 'file'", {"file": None}),
        (400, "not JSON", {"file": ("f", '{"itemId": "a"')}),
        (400, "not JSON", {"file": ("f", b'{"itemId": "\xff", "data": {}}')}),
        (422, "no itemId", {"file": ("f", '{"data": {}}')}),
        (422, "no itemId", {"file": ("f", '{"itemId": "", "data": {}}')}),
        (422, "no itemId", {"file": ("f", '{"itemId": 7, "data": {}}')}),
        (422, "no itemId", {"file": ("f", "[]")}),
        (422, "no object named data", {"file": ("f", '{"itemId": "a", "data": 1}')}),
        (422, "metadata", {"metadata": "no"}),
        (422, "metadata", {"metadata": "[]"}),
        (422, "timestamp", {"timestamp": "yesterday"}),
        (422, "timestamp", {"timestamp": "2024-01-10T10:00:00"}),
        (422, "timestamp", {"timestamp": "2024-01-10T10:00:00+02:00"}),
        (422, "timestamp", {"timestamp": "2024-13-10T10:00:00Z"}),
        (422, "dataSource", {"data_source": ""}),
        (422, "classification", {"classification": ""}),
        (422, "UTF-8", {"classification": b"\xff"}),
    ],
)
def test_a_wrong_item_is_refused_with_the_reason(catalog, status, says, form):
    answer = catalog.upload("a", **form)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert catalog.status()["copies"] == 0


@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (400, WHOLE[:-10], GOOD),
        (400, WHOLE.replace(b"--B--", b"--B"), GOOD),
        (400, b"", GOOD),
        (400, b"--B--\r\n", GOOD),
        (400, WHOLE.replace(b'; name="file"', b""), GOOD),
        (400, WHOLE.replace(b"\r\n\r\n", b"\r\n"), GOOD),
        (400, part("file", "{}") + WHOLE, GOOD),
        (400, WHOLE, b"multipart/form-data; boundary=C"),
        (415, WHOLE, b"multipart/form-data"),
        (415, WHOLE, b"application/json"),
    ],
)
def test_a_form_that_is_no_form_is_refused(catalog, status, body, content_type):
    answer = post(catalog, body, content_type)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert catalog.status()["copies"] == 0


def test_a_batch_out_of_order_is_refused_as_a_whole(catalog):
    mixed = [*catalog.fields("a"), *catalog.fields("b")[::-1]]
    answer = requests.post(catalog.url + "/v1/items:batch", files=mixed, timeout=60)
    assert (answer.status_code, "expected 'file'" in answer.json()["error"]) == (400, True)
    short = [*catalog.fields("a"), *catalog.fields("b")[:3]]
    answer = requests.post(catalog.url + "/v1/items:batch", files=short, timeout=60)
    assert (answer.status_code, "lacks its part 'metadata'" in answer.json()["error"]) == (400, True)
    assert catalog.count()["items"] == 0


def test_a_batch_of_too_many_items_is_refused(start):
    catalog = start(max_batch_items=3)
    assert catalog.upload_batch(["a", "b", "c"]).status_code == 200
    assert catalog.upload_batch(["a", "b", "c", "d"]).status_code == 413
    assert catalog.count()["items"] == 3


def test_a_huge_body_is_refused_before_it_is_read(start):
    catalog = start(max_request_bytes=10_000)
    host, port = catalog.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n")
        connection.sendall(b"Content-Length: 99999999999\r\n\r\n")
        assert b" 413 " in connection.recv(4096)


def test_a_huge_body_of_unknown_length_is_refused_while_it_is_read(start):
    catalog = start(max_request_bytes=10_000)
    answer = requests.post(
        catalog.url + "/v1/items", data=iter([b"x" * 5000] * 10), headers={"Content-Type": GOOD}, timeout=10
    )
    assert answer.status_code == 413


def test_more_large_bodies_at_once_than_memory_is_for_are_put_off(start):
    catalog = start(max_request_bytes=100_000)
    address = catalog.url.removeprefix("http://").split(":")
    head = b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: 100000\r\n\r\n" % GOOD
    with ExitStack() as stack:
        senders = [stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(9)]
        for sender in senders:
            sender.sendall(head + b"x" * 99_999)
        ready, _, _ = select.select(senders, [], [], 10)
        assert b" 503 " in ready[0].recv(4096)
    assert catalog.upload("a").status_code == 201


def test_a_catalog_with_a_token_answers_nobody_else(start):
    catalog = start(token="secret-1")
    for headers in [None, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer secret-1 "[:-2]}]:
        answer = catalog.upload("a", headers=headers)
        assert answer.status_code == 401
        assert catalog.get("/sandbox/status", headers=headers).status_code == 401
        assert "secret-1" not in answer.text
    assert catalog.get("/healthz").text == "ok"
    right = {"Authorization": "Bearer secret-1"}
    assert catalog.upload("a", headers=right).status_code == 201
    assert catalog.get("/sandbox/status", headers=right).json()["items"] == 1


def test_an_uploader_that_leaves_in_the_middle_stores_nothing(catalog):
    host, port = catalog.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % (GOOD, len(WHOLE)) + WHOLE[:50])
    assert catalog.upload("b").status_code == 201
    assert catalog.count()["items"] == 1


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"dataSource": ""},
        {"dataSource": "x", "limit": "0"},
        {"dataSource": "x", "limit": "5001"},
        {"dataSource": "x", "limit": "x"},
        {"dataSource": "x", "limit": "-1"},
    ],
)
def test_a_wrong_listing_is_refused(catalog, query):
    assert catalog.get("/v1/items", params=query).status_code == 400
