"""What a sync knows of its items, as one reading of the source needs it.

A reading of all rows takes all of it along, 26 bytes an item, and notes what it has seen; one of few rows looks its
items up, block by block.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blade_server.arrow.arrays import values
from blade_server.core.engine.ledger import stood_before
from blade_server.core.engine.sync.blocks import Columns, ItemMark, Keys, find
from blade_server.model.sync_block import SyncBlock
from blade_server.storage.sync.state import StateStore

AT_ONCE = 256
"""Blocks that are looked up in one go."""
_GIVEN_UP_AT_ONCE = 50_000


class Found(NamedTuple):
    """Of each item asked for: whether it is known, and if so its digest and marks.

    `again`: which of the known ones this reading has met before; None: nobody keeps that.
    """

    known: NDArray[np.bool_]
    contents: NDArray[np.uint64]
    marks: NDArray[np.uint8]
    again: NDArray[np.bool_] | None = None


class Absent(NamedTuple):
    """Items that a reading of all rows has not seen, in the order of their keys."""

    keys: Sequence[bytes]
    item_ids: Sequence[str]


class LoadedItems:
    """All items of a sync."""

    def __init__(self, size: int, blocks: Iterable[SyncBlock]) -> None:
        """`size`: how many items the blocks have in all."""
        self._heads, self._tails = np.empty(size, np.uint64), np.empty(size, np.uint64)
        self._contents, self._marks = np.empty(size, np.uint64), np.empty(size, np.uint8)
        self._lows: list[bytes] = []
        self._begins: list[int] = []
        used = 0
        for block in blocks:
            columns = Columns.of(block)
            self._lows.append(block.low)
            self._begins.append(used)
            part = slice(used, used + len(columns))
            self._heads[part], self._tails[part] = columns.keys
            self._contents[part], self._marks[part] = columns.contents, columns.marks
            used += len(columns)
        assert used == size, f"{used} items where {size} were counted"
        self._seen, self._met = np.zeros(size, np.bool_), np.zeros(size, np.bool_)

    def meet(self, wanted: Keys) -> Found:
        """What is known of these, which are rows of a reading, and which of them it has met before."""
        return self._look(wanted, saw=True, meets=True)

    def look(self, wanted: Keys, *, saw: bool = True) -> Found:
        """What is known of these; `saw`: a reading has shown that they are there."""
        return self._look(wanted, saw=saw, meets=False)

    def _look(self, wanted: Keys, *, saw: bool, meets: bool) -> Found:
        order = np.argsort(wanted.heads)  # neighbours lie together: several times as fast as in any order
        at = np.empty(len(order), np.int64)
        at[order] = find(Keys(self._heads, self._tails), wanted.take(order))
        known = at >= 0
        if saw:
            self._seen[at[known]] = True
        if not len(self._marks):
            return Found(known, np.zeros(len(at), np.uint64), np.zeros(len(at), np.uint8), known if meets else None)
        return Found(known, self._contents[at], self._marks[at], self._meet(at, known) if meets else None)

    def _meet(self, at: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the known ones were met before, in this call or another; they are now."""
        again, places = np.zeros(len(at), np.bool_), at[known]
        before = self._met[places] | stood_before(places)
        self._met[places] = True
        again[known] = before
        return again

    def anew(self) -> None:
        """Another reading begins."""
        self._seen[:] = self._met[:] = False

    @property
    def known(self) -> int:
        """Items that are in the destination, or may be."""
        return int(np.count_nonzero(self._marks & ItemMark.NEVER_SENT == 0))

    def give_up(self, have: Callable[[Keys], NDArray[np.bool_]]) -> None:
        """Those that were not seen and that others `have` are not this sync's any more: as if it had never sent them.

        Raises what `have` raises.
        """
        places = np.flatnonzero(~self._seen & (self._marks & ItemMark.NEVER_SENT == 0))
        for begin in range(0, len(places), _GIVEN_UP_AT_ONCE):
            some = places[begin : begin + _GIVEN_UP_AT_ONCE]
            theirs = have(Keys(self._heads, self._tails).take(some))
            self._marks[some[theirs]] |= np.uint8(ItemMark.NEVER_SENT)

    def unseen(self) -> Keys:
        """The items that were not seen and are in the destination, or may be; in the order of their keys."""
        unseen = ~self._seen & (self._marks & ItemMark.NEVER_SENT == 0)
        return Keys(self._heads, self._tails).take(unseen)

    def absent(self, store: StateStore, sync: str, *, never_sent: bool, but: set[int]) -> Iterator[Absent]:
        """The items that were not seen, without those `but` whose keys begin so.

        `never_sent`: those that were never in the destination, instead of those that may be.
        """
        for lows, places in self._groups(never_sent=never_sent):
            blocks = {block.low: block for block in store.blocks_at(sync, lows, with_ids=True)}
            keys: list[bytes] = []
            item_ids: list[str] = []
            for low, chosen in zip(lows, places, strict=True):
                columns = Columns.of(blocks[low]).take(chosen)
                for head, key, item_id in zip(
                    columns.keys.heads.tolist(), columns.keys.cut(), values(columns.the_ids), strict=True
                ):
                    if head not in but:
                        keys.append(key)
                        item_ids.append(item_id)
            if keys:
                yield Absent(keys, item_ids)

    def _groups(self, *, never_sent: bool) -> Iterator[tuple[list[bytes], list[NDArray[np.int64]]]]:
        """Where some blocks begin that have such items, and their places in each."""
        unseen = ~self._seen & ((self._marks & ItemMark.NEVER_SENT > 0) == never_sent)
        lows: list[bytes] = []
        places: list[NDArray[np.int64]] = []
        ends = [*self._begins[1:], len(self._marks)][: len(self._begins)]
        for low, begin, end in zip(self._lows, self._begins, ends, strict=True):
            chosen = np.flatnonzero(unseen[begin:end])
            if len(chosen):
                lows.append(low)
                places.append(chosen)
            if len(lows) == AT_ONCE:
                yield lows, places
                lows, places = [], []
        if lows:
            yield lows, places


class LookedUpItems:
    """The items of a sync, a few of them at a time."""

    def __init__(self, store: StateStore, sync: str) -> None:
        """Reads where the blocks begin. Raises StorageUnavailable."""
        self._store = store
        self._sync = sync
        self._lows = store.lows(sync)

    def meet(self, wanted: Keys) -> Found:
        """As `look`: what was met is not kept."""
        return self.look(wanted)

    def look(self, wanted: Keys, *, saw: bool = True) -> Found:
        """What is known of these. Raises StorageUnavailable."""
        found = Found(
            np.zeros(len(wanted.heads), np.bool_),
            np.zeros(len(wanted.heads), np.uint64),
            np.zeros(len(wanted.heads), np.uint8),
        )
        if not self._lows or not len(wanted.heads):
            return found
        of_block = np.array([max(0, bisect_right(self._lows, key) - 1) for key in wanted.cut()])
        numbers = np.unique(of_block)
        for begin in range(0, len(numbers), AT_ONCE):
            some = numbers[begin : begin + AT_ONCE]
            blocks = self._store.blocks_at(self._sync, [self._lows[number] for number in some.tolist()])
            for number, block in zip(some.tolist(), blocks, strict=True):
                self._look_in(Columns.of(block), np.flatnonzero(of_block == number), wanted, found)
        return found

    def anew(self) -> None:
        """Another reading begins."""

    @staticmethod
    def _look_in(columns: Columns, places: NDArray[np.int64], wanted: Keys, found: Found) -> None:
        at = find(columns.keys, wanted.take(places))
        there = at >= 0
        found.known[places[there]] = True
        found.contents[places[there]] = columns.contents[at[there]]
        found.marks[places[there]] = columns.marks[at[there]]


KnownItems = LoadedItems | LookedUpItems
