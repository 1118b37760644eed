"""What the ledger of a run means for what its sync knows: one effect for each item, the last word of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby, islice

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.arrays import known_as
from blade_server.arrow.packed_ids import unpacked
from blade_server.core.engine.ledger import Mark, item_keys
from blade_server.core.engine.sync.blocks import Columns, ItemMark, Keys, find
from blade_server.model import Block


class Effect(IntEnum):
    """What became of an item."""

    NONE = 0
    SENT = 1
    """It is there as it was sent."""
    FAILED = 2
    """What there was of it still is there."""
    DOUBTED = 3
    """It failed, and may be stored all the same."""
    OPEN = 4
    """It was about to be sent."""
    DELETE_OPEN = 5
    """It was about to be deleted."""
    GONE = 6
    CLEAN = 7
    """It was found as it was sent: nothing is wrong with it any more."""


def _table(**effects: Effect) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for mark, effect in effects.items():
        table[Mark[mark]] = effect
    return table


_OF_SENDS = _table(
    INTENDED=Effect.OPEN,
    SUCCESS=Effect.SENT,
    CREATED=Effect.SENT,
    UNCHANGED=Effect.SENT,
    ERROR=Effect.FAILED,
    DOUBTED=Effect.DOUBTED,
)
_OF_EQUALS = _table(UNCHANGED=Effect.CLEAN)
_OF_REJECTS = _table(ERROR=Effect.FAILED)
_OF_DELETES = _table(INTENDED=Effect.DELETE_OPEN, DOUBTED=Effect.DELETE_OPEN, DELETED=Effect.GONE)
_BLOCKS_AT_ONCE = 256
_MARKS_OF_NEW = np.zeros(len(Effect), np.uint8)
_MARKS_OF_NEW[Effect.FAILED] = ItemMark.DIRTY | ItemMark.NEVER_SENT
_MARKS_OF_NEW[Effect.DOUBTED] = ItemMark.DIRTY | ItemMark.UNCERTAIN | ItemMark.UNCONFIRMED
_MARKS_OF_NEW[Effect.OPEN] = ItemMark.UNCERTAIN | ItemMark.UNCONFIRMED
_LEAVES_DOUBT = [Effect.OPEN, Effect.DOUBTED, Effect.DELETE_OPEN, Effect.GONE]
_MAKES_NEW = np.isin(np.arange(len(Effect)), [Effect.SENT, Effect.FAILED, Effect.DOUBTED, Effect.OPEN])


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Effects on items, in the order of their keys once they are `resolved`."""

    keys: Keys
    kinds: NDArray[np.uint8]
    contents: NDArray[np.uint64]
    ids: pa.StringArray

    def __len__(self) -> int:
        return len(self.kinds)

    def cut(self, begin: int, end: int) -> Effects:
        """Those from `begin` to before `end`."""
        return Effects(
            keys=self.keys.take(slice(begin, end)),
            kinds=self.kinds[begin:end],
            contents=self.contents[begin:end],
            ids=self.ids.slice(begin, end - begin),
        )

    def take(self, places: NDArray[np.int64]) -> Effects:
        """Those at these places."""
        return Effects(
            keys=self.keys.take(places),
            kinds=self.kinds[places],
            contents=self.contents[places],
            ids=self.ids.take(pa.array(places, pa.int64())),
        )


def _kind(block: Block) -> tuple[bool, bool, bool]:
    """Blocks of one kind can be taken together."""
    return block.deletes, block.contents is None, bool(block.item_ids)


def of_blocks(blocks: Sequence[Block], least: int, most: int) -> tuple[Effects, bool]:
    """The effects of blocks of a ledger, all of one kind, on items whose keys begin with a number from `least` to
    `most`.

    True: they are of rows that were rejected, which say less than any other word.
    """
    deletes, without_contents, with_ids = _kind(blocks[0])
    counts = [len(block.outcomes) for block in blocks]
    rejects = without_contents and not deletes
    ids = unpacked([block.item_ids or b"" for block in blocks], counts) if with_ids else _no_ids(sum(counts))
    table = _OF_DELETES if deletes else _OF_REJECTS if rejects else _OF_SENDS if with_ids else _OF_EQUALS
    kinds = table[np.frombuffer(b"".join(block.outcomes for block in blocks), np.uint8)]
    keys = Keys.of(b"".join(item_keys(ids) if rejects else (block.keys for block in blocks)))
    wanted = (kinds != Effect.NONE) & (keys.heads >= np.uint64(least)) & (keys.heads <= np.uint64(most))
    if rejects:
        wanted &= np.array([bool(item_id) for item_id in ids.to_pylist()], np.bool_)
    contents = np.zeros(len(kinds), np.uint64)
    if not without_contents:
        contents = np.frombuffer(b"".join(block.contents or b"" for block in blocks), "<u8")
    effects = Effects(keys=keys, kinds=kinds, contents=contents, ids=ids)
    return (effects if wanted.all() else effects.take(np.flatnonzero(wanted))), rejects


def _no_ids(count: int) -> pa.StringArray:
    return pa.array([""] * count, pa.string())


def resolved(blocks: Iterable[Block], least: int = 0, most: int = 2**64 - 1) -> Effects:
    """One effect for each item, from the blocks of a ledger in their order.

    An item that failed and was about to be sent before, by another claim, may be there; one that was deleted before, or
    about to be, may not.
    """
    parts: tuple[list[Effects], list[Effects]] = [], []
    for _, alike in groupby(blocks, _kind):
        while some := list(islice(alike, _BLOCKS_AT_ONCE)):
            effects, rejects = of_blocks(some, least, most)
            if len(effects):
                parts[not rejects].append(effects)
    every = [*parts[0], *parts[1]]
    if not every:
        return Effects(
            keys=Keys.of(b""),
            kinds=np.zeros(0, np.uint8),
            contents=np.zeros(0, np.uint64),
            ids=pa.array([], pa.string()),
        )
    all_of_them = Effects(
        keys=Keys.joined([part.keys for part in every]),
        kinds=np.concatenate([part.kinds for part in every]),
        contents=np.concatenate([part.contents for part in every]),
        ids=known_as(pa.StringArray, pa.concat_arrays([part.ids for part in every])),
    )
    return _last_words(all_of_them, _in_order(all_of_them.keys))


def _in_order(keys: Keys) -> NDArray[np.int64]:
    """The places of the keys in their order, equal ones in the order in which they stand."""
    order = np.argsort(keys.heads, kind="stable")
    heads, tails = keys.heads[order], keys.tails[order]
    if ((heads[1:] == heads[:-1]) & (tails[1:] < tails[:-1])).any():  # they share 8 of their 16 bytes
        order = np.lexsort((np.arange(len(order)), keys.tails, keys.heads))
    return order


def _last_words(effects: Effects, order: NDArray[np.int64]) -> Effects:
    heads, tails = effects.keys.heads[order], effects.keys.tails[order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (heads[1:] != heads[:-1]) | (tails[1:] != tails[:-1])
    final = effects.take(order[last])
    if last.all():
        return final
    ends = np.flatnonzero(last)
    begins = np.concatenate(([0], ends[:-1] + 1))
    kinds = effects.kinds[order]
    open_before = np.logical_or.reduceat(np.isin(kinds, _LEAVES_DOUBT), begins)
    doubted = (final.kinds == Effect.FAILED) & open_before
    return Effects(
        keys=final.keys,
        kinds=np.where(doubted, np.uint8(Effect.DOUBTED), final.kinds),
        contents=final.contents,
        ids=final.ids,
    )


def structural(known: Columns, effects: Effects) -> bool:
    """Whether the effects add or remove items."""
    there = find(known.keys, effects.keys) >= 0
    return bool((there & (effects.kinds == Effect.GONE)).any() or (~there & _MAKES_NEW[effects.kinds]).any())


def applied(known: Columns, effects: Effects, run: int) -> Columns:
    """What is known after the effects of a run. Applying them twice is harmless.

    Args:
        known: of one block; with ids if the effects are structural.
        effects: resolved ones, on items that belong into this block.
        run: the number of the run.
    """
    at = find(known.keys, effects.keys)
    there = at >= 0
    changed = _changed(known, effects.take(np.flatnonzero(there)), at[there], run)
    gone = at[there & (effects.kinds == Effect.GONE)]
    new = np.flatnonzero(~there & _MAKES_NEW[effects.kinds])
    if not len(gone) and not len(new):
        return changed
    if len(gone):
        stays = np.ones(len(changed), np.bool_)
        stays[gone] = False
        changed = changed.take(np.flatnonzero(stays))
    if not len(new):
        return changed
    added = effects.take(new)
    both = Columns.joined(
        [
            changed,
            Columns(
                keys=added.keys,
                contents=added.contents,
                runs=np.full(len(added), run, np.uint32),
                marks=_MARKS_OF_NEW[added.kinds],
                ids=added.ids,
            ),
        ]
    )
    return both.take(np.lexsort((both.keys.tails, both.keys.heads)))


def _changed(known: Columns, effects: Effects, at: NDArray[np.int64], run: int) -> Columns:
    """The items that were known already."""
    kinds = effects.kinds
    contents, runs, marks = known.contents.copy(), known.runs.copy(), known.marks.copy()
    sent = kinds == Effect.SENT
    contents[at[sent]], runs[at[sent]], marks[at[sent]] = effects.contents[sent], run, 0
    marks[at[kinds == Effect.FAILED]] |= np.uint8(ItemMark.DIRTY)
    marks[at[kinds == Effect.CLEAN]] &= ~np.uint8(ItemMark.DIRTY)
    open_ = np.isin(kinds, [Effect.OPEN, Effect.DOUBTED])
    marks[at[open_ & (marks[at] & ItemMark.NEVER_SENT > 0)]] ^= np.uint8(ItemMark.NEVER_SENT | ItemMark.UNCONFIRMED)
    marks[at[open_ | (kinds == Effect.DELETE_OPEN)]] |= np.uint8(ItemMark.UNCERTAIN)
    marks[at[kinds == Effect.DOUBTED]] |= np.uint8(ItemMark.DIRTY)
    return Columns(keys=known.keys, contents=contents, runs=runs, marks=marks, ids=known.ids)
