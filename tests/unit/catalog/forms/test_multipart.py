"""The form bodies, read back by the standard library's own MIME parser."""

import json
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.policy import HTTP

import pytest

from blade_server.arrow.items import Items
from blade_server.catalog.forms.multipart import encode, files
from blade_server.model import Item

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


def encoded(items, data_source="BLADE:m"):
    return encode(data_source, Items.of(items))


def test_each_item_has_the_five_parts_in_the_contracts_order():
    items = [item("a"), item("b", last_modified="2024-01-01T00:00:00Z")]
    before = datetime.now(UTC)
    parts = read(*encoded(items, "BLADE:maintenance").body())
    assert [name for name, _, _ in parts] == ["file", "dataSource", "classification", "metadata", "timestamp"] * 2
    assert parts[0][1] == "blade_item.json"
    assert [content for _, _, content in parts[1:4]] == [b"BLADE:maintenance", b"UNCLASS", b'{"job":"j"}']
    now = parts[4][2].decode()  # of an item that was never modified
    assert now.endswith("Z")
    assert before - timedelta(milliseconds=1) <= datetime.fromisoformat(now) <= datetime.now(UTC)
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
    after = sent._replace(item_id="after", last_modified=odd)
    content_type, body = encoded([sent, after], f"BLADE:{odd}").body()
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
    assert json.loads(contents[5])["lastModified"] == contents[9].decode() == odd


def test_the_rows_own_json_is_passed_through_unread():
    row = b'{"big":12345678901234567890123456789,"exact":1.10,"dup":1,"dup":2}'
    (file,) = files(Items.of([item(data_json=row)])).to_pylist()
    assert b'"data":' + row + b"," in file


def test_items_encoded_twice_have_boundaries_of_their_own_and_are_otherwise_the_same():
    items = [item("a", last_modified="2024-01-01T00:00:00Z"), item("b", last_modified="2024-01-01T00:00:00Z")]
    (first_type, first), (second_type, second) = encoded(items).body(), encoded(items).body()
    boundaries = [kind.partition("boundary=")[2].encode() for kind in (first_type, second_type)]
    assert boundaries[0] != boundaries[1]
    assert all(len(boundary) >= 32 for boundary in boundaries)
    assert first.replace(boundaries[0], b"") == second.replace(boundaries[1], b"")


def test_the_announced_sizes_are_the_bytes_of_the_body():
    whole = encoded([item("a"), item("ü" * 100), item("c", data_json=b'{"n":12345}')], "BLADE:ü")
    for some in (whole, whole.cut(1, 3), whole.cut(0, 0), whole.take([0, 2])):
        _, body = some.body()
        assert len(body) == some.size_bytes + some.closing_bytes
    assert list(whole.cut(1, 3).ends) == [whole.ends[1] - whole.ends[0], whole.ends[2] - whole.ends[0]]


@pytest.mark.parametrize("places", [[], [0], [1, 2], [0, 2], [0, 1, 3]])
def test_some_of_the_items_are_sent_as_they_would_be_alone(places):
    items = [item(letter, data_json=b'{"at":"%b"}' % letter.encode()) for letter in "abcd"]
    some = encoded(items).take(places)
    assert list(some.items) == [items[at] for at in places]
    content_type, body = some.body()
    if places:
        assert [json.loads(content)["itemId"] for _, _, content in read(content_type, body)[::5]] == [
            items[at].item_id for at in places
        ]


@pytest.mark.parametrize("bad", [item("\ud800"), item(classification="\udfff"), item(last_modified="\ud800")])
def test_an_item_that_is_not_text_is_refused(bad):
    with pytest.raises(UnicodeEncodeError):
        Items.of([bad])


def test_items_of_different_metadata_do_not_travel_together():
    with pytest.raises(ValueError, match="differ"):
        Items.of([item("a"), item("b", metadata={"job": "k"})])
