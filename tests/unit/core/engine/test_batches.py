"""Chunks of what was read become batches of about one size."""

from __future__ import annotations

from blade_server.arrow.items import Items
from blade_server.catalog import Encoded, encode
from blade_server.core.engine.batches import BATCH_BYTES, ENCODED_BYTES, Chunk, Supply
from blade_server.core.engine.ledger import item_key
from blade_server.model import Item


def chunk(numbers, *, size=10, uncertain=()):
    items = [Item(f"i{number}", "t", b"x" * size, "UNCLASS", None, {}) for number in numbers]
    return Chunk(items=Items.of(items), keys=[item_key(item.item_id) for item in items], uncertain=frozenset(uncertain))


def batches(supply, *, at_end):
    found = []
    while (batch := supply.next(len(found), at_end)) is not None:
        found.append(batch)
    return found


def test_chunks_are_cut_into_full_batches_and_the_last_one_may_be_short():
    supply = Supply(4, "BLADE:t")
    supply.add(chunk(range(6), uncertain=[5]))
    assert [[item.item_id for item in batch.items] for batch in batches(supply, at_end=False)] == [
        ["i0", "i1", "i2", "i3"]
    ]
    supply.add(chunk(range(6, 11), uncertain=[0]))
    rest = batches(supply, at_end=True)
    assert [[item.item_id for item in batch.items] for batch in rest] == [["i4", "i5", "i6", "i7"], ["i8", "i9", "i10"]]
    assert [batch.uncertain for batch in rest] == [{1, 2}, set()]
    assert all(batch.keys == [item_key(item.item_id) for item in batch.items] for batch in rest)
    assert not supply
    assert supply.used_up() == 2


def test_a_batch_of_large_items_ends_early():
    supply = Supply(100, "BLADE:t")
    supply.add(chunk(range(5), size=BATCH_BYTES // 2 - 2000))
    assert [len(batch.items) for batch in batches(supply, at_end=True)] == [2, 2, 1]


def test_large_rows_of_many_chunks_do_not_wait_for_a_full_number():
    supply, sizes = Supply(1000, "BLADE:t"), []
    for number in range(9):
        supply.add(chunk([number], size=BATCH_BYTES // 3))
        sizes += [len(batch.items) for batch in batches(supply, at_end=False)]
    assert sizes == [2, 2, 2, 2]
    assert sum(len(batch.items) for batch in batches(supply, at_end=True)) == 1


def test_items_with_much_metadata_are_encoded_a_few_at_a_time(monkeypatch):
    metadata = {f"key-{number}": "v" * 1000 for number in range(64)}
    items = Items.of([Item(f"i{number}", "t", b"{}", "UNCLASS", None, metadata) for number in range(1000)])
    supply, sizes = Supply(100, "BLADE:t"), []

    def measured(*args, **options) -> Encoded:
        encoded = encode(*args, **options)
        sizes.append(encoded.size_bytes)
        return encoded

    monkeypatch.setattr("blade_server.core.engine.batches.encode", measured)
    supply.add(Chunk(items=items, keys=[item_key(item.item_id) for item in items]))
    found = batches(supply, at_end=True)
    assert [item.item_id for batch in found for item in batch.items] == [f"i{number}" for number in range(1000)]
    assert [key for batch in found for key in batch.keys] == [item_key(item.item_id) for item in items]
    assert max(sizes) < 1.2 * ENCODED_BYTES
    assert max(batch.size_bytes for batch in found) <= BATCH_BYTES
