"""The form bodies, read back by the standard library's own MIME parser."""

import json
from datetime import UTC, datetime, timedelta, timezone
from email.parser import BytesParser
from email.policy import HTTP

import pytest

from blade_server.catalog.multipart import Form, encode
from blade_server.model import Item

AT = datetime(2024, 1, 10, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
ODD = ["plain", 'q"uote', "line\r\nbreak", "nul\0", "ü ☃ 💥", "--boundary\r\n", 'a"\r\nX-Injected: yes\r\n\r\n', ""]


def item(item_id: str = "a", **fields) -> Item:
    given = {
        "data_type": "maintenance",
        "data_json": b'{"n":1}',
        "classification": "UNCLASS",
        "last_modified": None,
        "metadata": {"job": "j"},
    }
    return Item(item_id=item_id, **given | fields)


def read(content_type: str, body: bytes) -> list[tuple[str, str | None, bytes]]:
    whole = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    assert not whole.defects
    return [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
        for part in whole.iter_parts()
    ]


def parts_of(items):
    return [parts for parts in encode(items, AT) if parts is not None]


def test_each_item_has_the_five_parts_in_the_contracts_order():
    items = [item("a"), item("b", last_modified="2024-01-01T00:00:00Z")]
    parts = read(*Form("BLADE:maintenance").body(parts_of(items)))
    assert [name for name, _, _ in parts] == ["file", "dataSource", "classification", "metadata", "timestamp"] * 2
    assert parts[0][1] == "blade_item.json"
    assert [content for _, _, content in parts[1:5]] == [
        b"BLADE:maintenance",
        b"UNCLASS",
        b'{"job":"j"}',
        b"2024-01-10T10:00:00.250Z",
    ]
    assert parts[9][2] == b"2024-01-01T00:00:00Z"
    assert json.loads(parts[5][2]) == {
        "itemId": "b",
        "dataType": "maintenance",
        "data": {"n": 1},
        "classification": "UNCLASS",
        "lastModified": "2024-01-01T00:00:00Z",
        "metadata": {"job": "j"},
    }
    assert json.loads(parts[0][2])["lastModified"] is None


@pytest.mark.parametrize("odd", ODD)
def test_odd_text_survives_everywhere_and_adds_no_header(odd):
    sent = item(odd, data_type=odd, classification=odd, metadata={odd: odd})
    content_type, body = Form(f"BLADE:{odd}").body(parts_of([sent, item("after")]))
    boundary = content_type.partition("boundary=")[2].encode()
    segments = body.split(b"--" + boundary)[1:-1]
    assert len(segments) == 10
    heads = [segment.partition(b"\r\n\r\n")[0] for segment in segments]
    assert not any(b"X-Injected" in head for head in heads)
    contents = [segment.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for segment in segments]
    file = json.loads(contents[0])
    assert (file["itemId"], file["dataType"], file["classification"], file["metadata"]) == (odd, odd, odd, {odd: odd})
    assert (contents[1].decode(), contents[2].decode()) == (f"BLADE:{odd}", odd)
    assert json.loads(contents[3]) == {odd: odd}


def test_the_rows_own_json_is_passed_through_unread():
    row = b'{"big":12345678901234567890123456789,"exact":1.10,"dup":1,"dup":2}'
    (parts,) = parts_of([item(data_json=row)])
    assert b'"data":' + row + b"," in parts.file


def test_every_body_has_a_boundary_of_its_own_and_is_otherwise_the_same():
    form, parts = Form("BLADE:m"), parts_of([item("a"), item("b")])
    (first_type, first), (second_type, second) = form.body(parts), form.body(parts)
    boundaries = [kind.partition("boundary=")[2].encode() for kind in (first_type, second_type)]
    assert boundaries[0] != boundaries[1]
    assert all(len(boundary) >= 32 for boundary in boundaries)
    assert first.replace(boundaries[0], b"") == second.replace(boundaries[1], b"")


def test_the_announced_sizes_are_the_bytes_of_the_body():
    form, parts = Form("BLADE:ü"), parts_of([item("a"), item("ü" * 100, metadata={"k": "v" * 999})])
    _, body = form.body(parts)
    assert len(body) == sum(map(form.size, parts)) + form.closing_bytes


@pytest.mark.parametrize(
    "bad",
    [
        item("\ud800"),
        item(classification="\udfff"),
        item(metadata={"k": "\ud800"}),
        item(metadata={"\ud800": "v"}),
        item(data_type="\ud800"),
    ],
)
def test_an_item_that_is_not_text_is_left_out_and_the_others_stay(bad):
    first, second, third = encode([item("a"), bad, item("c")], AT)
    assert second is None
    assert b'"a"' in first.file
    assert b'"c"' in third.file


def test_items_of_the_same_job_share_their_metadata():
    shared = {"job": "j"}
    own = {"job": "k"}
    parts = parts_of([item("a", metadata=shared), item("b", metadata=shared), item("c", metadata=own)])
    assert [part.metadata for part in parts] == [b'{"job":"j"}', b'{"job":"j"}', b'{"job":"k"}']
    assert parts[0].metadata is parts[1].metadata


def test_the_time_of_the_upload_is_written_in_utc():
    (parts,) = encode([item()], datetime(2024, 1, 1, tzinfo=UTC))
    assert parts.timestamp == b"2024-01-01T00:00:00.000Z"
