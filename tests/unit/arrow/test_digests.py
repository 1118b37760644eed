"""Digests of items, and ids packed."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pytest

from blade_server.arrow.digests import digests
from blade_server.arrow.items import Items
from blade_server.arrow.packed_ids import packed, unpacked
from blade_server.model import Item


@dataclass(frozen=True)
class Content:
    data: bytes = b'{"a":1}'
    data_type: str = "maintenance"
    classification: str = "UNCLASS"
    last_modified: str | None = "2024-01-01T00:00:00Z"
    metadata: tuple[tuple[str, str], ...] = (("source", "x"), ("job", "job-1"))
    item_id: str = "a"

    def digest(self) -> int:
        item = Item(
            self.item_id, self.data_type, self.data, self.classification, self.last_modified, dict(self.metadata)
        )
        return int(digests(Items.of([item, item]))[1])


@pytest.mark.parametrize(
    "other",
    [
        Content(data=b'{"a":2}'),
        Content(data_type="another"),
        Content(classification="SECRET"),
        Content(last_modified=None),
        Content(last_modified="2024-01-01T00:00:01Z"),
        Content(metadata=(("source", "y"),)),
        Content(metadata=(("source", "x"), ("more", ""))),
        Content(data=b'{"a":1}', classification="UNCLASS2024-01-01T00:00:00Z", last_modified=None),
    ],
)
def test_another_content_has_another_digest(other):
    assert other.digest() != Content().digest()


@pytest.mark.parametrize(
    "other",
    [
        Content(metadata=(("job", "job-2"), ("source", "x"))),
        Content(metadata=(("source", "x"),)),
        Content(item_id="b"),
    ],
)
def test_the_job_and_the_order_of_metadata_change_nothing_nor_does_the_id(other):
    assert other.digest() == Content().digest()


def test_a_digest_stays_what_it_is_in_every_process_and_release():
    assert Content().digest() == 13903323969446379561


@pytest.mark.parametrize("ids", [[], [""], ["a", "", "ä\N{AIRPLANE}", "x" * 512], [f"ITEM-{n}" for n in range(3000)]])
def test_ids_come_back_as_they_were(ids):
    array = pa.array(["left out", *ids], pa.string()).slice(1)
    assert unpacked([packed(array)], [len(ids)]).to_pylist() == ids
    assert packed(ids) == packed(array)


def test_ids_that_are_not_so_many_are_refused():
    with pytest.raises(ValueError, match="2 ids take"):
        unpacked([packed(["a", "b", "c"])], [2])
