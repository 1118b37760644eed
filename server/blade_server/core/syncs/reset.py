"""Forget what a sync knows, so that its next run sends again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from blade_server.core.checks import check_reason, raise_for
from blade_server.core.engine.ledger import item_key
from blade_server.core.engine.sync.blocks import Columns, ItemMark, Keys, find
from blade_server.core.transform.transform import MAX_ITEM_ID_CHARACTERS
from blade_server.model.access import Caller
from blade_server.model.sync import Sync
from blade_server.model.sync_block import SyncBlock
from blade_server.storage.sync.folds import FoldSlice
from blade_server.storage.sync.resets import ResetStore

MAX_IDS = 10_000


class ResetSyncState:
    """Thread-safe. Raises what the storage raises; Invalid for reason and ids."""

    def __init__(self, store: ResetStore) -> None:
        self._store = store

    def __call__(self, name: str, item_ids: Sequence[str] = (), *, by: Caller, reason: str = "") -> tuple[Sync, int]:
        """Forgets all items, or what was sent of these; the sync, and how many of them it knew. Deletes nothing.

        Items that are named stay the sync's: its next run reads them again, whatever its mode.
        """
        raise_for([*check_reason(reason), *_check(item_ids)])
        if not item_ids:
            return self._store.all(name, by=by, reason=reason)
        keys = sorted({item_key(item_id) for item_id in item_ids})
        return self._store.some(name, lambda stored: _forget(stored, keys), by=by, reason=reason)


def _check(item_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    if len(item_ids) > MAX_IDS:
        yield "item_ids", f"has {len(item_ids)} entries; at most {MAX_IDS} are allowed"
    elif any(not 0 < len(item_id) <= MAX_ITEM_ID_CHARACTERS for item_id in item_ids):
        yield "item_ids", f"has an id that has not 1 to {MAX_ITEM_ID_CHARACTERS} characters"


def _forget(stored: FoldSlice, keys: Sequence[bytes]) -> int:
    lows = stored.lows(keys[0], keys[-1])
    wanted: dict[bytes, list[bytes]] = {}
    for key in keys if lows else ():
        wanted.setdefault(lows[max(0, bisect_right(lows, key) - 1)], []).append(key)
    changed, found, dirty = [], 0, 0
    for block in stored.blocks_without_ids(list(wanted)):
        after, hits, newly_dirty = _forgotten(block, wanted[block.low])
        changed += [after] if hits else []
        found, dirty = found + hits, dirty + newly_dirty
    if changed:
        stored.change(changed)
        stored.count(0, dirty)
    return found


def _forgotten(block: SyncBlock, keys: Collection[bytes]) -> tuple[SyncBlock, int, int]:
    """The block without the digests of these items; how many it has, and how many of them were not dirty before."""
    columns = Columns.of(block)
    places = find(columns.keys, Keys.of(b"".join(keys)))
    places = places[places >= 0]
    contents, marks = columns.contents.copy(), columns.marks.copy()
    contents[places] = 0
    marks[places] |= np.uint8(ItemMark.DIRTY)
    after = Columns(keys=columns.keys, contents=contents, runs=columns.runs, marks=marks)
    return after.block(block.low), len(places), int(np.count_nonzero(marks != columns.marks))
