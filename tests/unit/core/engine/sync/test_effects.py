"""What a ledger means for each item: blocks of several kinds, in whatever order their keys are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blade_server.arrow.packed_ids import packed
from blade_server.core.engine.ledger import Mark, item_key
from blade_server.core.engine.sync.effects import Effect, resolved
from blade_server.model import Block

IDS = [f"ITEM-{number}" for number in range(6)]


def sent(number: int, ids: Sequence[str], mark: Mark, keys: Sequence[bytes] | None = None) -> Block:
    return Block(
        number=number,
        keys=b"".join(keys or map(item_key, ids)),
        outcomes=bytes([mark]) * len(ids),
        contents=np.arange(len(ids), dtype="<u8").tobytes(),
        item_ids=packed(ids),
    )


def rejected(number: int, ids: Sequence[str]) -> Block:
    keys = b"".join(bytes([number]) * 16 for _ in ids)
    return Block(number=number, keys=keys, outcomes=bytes([Mark.ERROR]) * len(ids), item_ids=packed(ids))


def deleted(number: int, ids: Sequence[str]) -> Block:
    keys = b"".join(map(item_key, ids))
    return Block(number=number, keys=keys, outcomes=bytes([Mark.DELETED]) * len(ids), deletes=True)


def test_blocks_of_each_kind_mean_what_they_mean_beside_each_other() -> None:
    blocks = [
        sent(1, IDS[:2], Mark.CREATED),
        rejected(2, [IDS[2], ""]),
        sent(3, [IDS[3]], Mark.ERROR),
        deleted(4, [IDS[4]]),
        rejected(5, [IDS[0]]),
        sent(6, [IDS[5]], Mark.SUCCESS),
    ]
    effects = resolved(blocks)
    found = {key: Effect(kind) for key, kind in zip(effects.keys.cut(), effects.kinds.tolist(), strict=True)}
    wanted = [Effect.SENT, Effect.SENT, Effect.FAILED, Effect.FAILED, Effect.GONE, Effect.SENT]
    assert found == dict(zip(map(item_key, IDS), wanted, strict=True))
    assert effects.keys.cut() == sorted(found)
    ids = dict(zip(effects.keys.cut(), effects.ids.to_pylist(), strict=True))
    assert ids[item_key(IDS[5])] == IDS[5]


def test_keys_that_share_eight_bytes_come_in_their_order_each_with_its_last_word() -> None:
    keys = [b"headhead" + tail * 8 for tail in (b"b", b"a", b"c")]
    blocks = [sent(1, IDS[:3], Mark.INTENDED, keys), sent(2, IDS[:1], Mark.SUCCESS, keys[:1])]
    effects = resolved(blocks)
    assert effects.keys.cut() == sorted(keys)
    assert effects.ids.to_pylist() == [IDS[1], IDS[0], IDS[2]]
    assert effects.kinds.tolist() == [Effect.OPEN, Effect.SENT, Effect.OPEN]
