"""What a sync knows of its items, as columns in the order of their keys.

A block of it is at most 1,024 items, split and put together as the leaves of a B-tree: a run with few changes rewrites
the blocks of those, and of these not the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.arrays import known_as
from blade_server.arrow.packed_ids import packed, unpacked
from blade_server.core.engine.ledger import KEY_BYTES
from blade_server.model.sync_block import SyncBlock

MOST = 1024
"""Items in a block."""
USUAL = 768
"""Items in each of the blocks that one is split into."""
LEAST = 256
"""A block with fewer goes to the one before."""
FIRST = bytes(KEY_BYTES)
"""Where the first block begins, which is always there once there is any."""


class ItemMark(IntFlag):
    """One byte for each item: what is wrong with it."""

    DIRTY = 1
    """Its last upload was refused, or its row was rejected when it was last read: it is read again."""
    UNCERTAIN = 2
    """It may have been sent or deleted when a run ended early: it is looked up before it is sent or deleted."""
    NEVER_SENT = 4
    """It was certainly never stored."""
    UNCONFIRMED = 8
    """It is UNCERTAIN, and was never known to be stored."""


class Keys(NamedTuple):
    """Keys as two columns of numbers, whose order is that of the bytes."""

    heads: NDArray[np.uint64]
    tails: NDArray[np.uint64]

    @classmethod
    def of(cls, keys: bytes) -> Keys:
        """From 16 bytes each."""
        halves = np.frombuffer(keys, np.dtype(">u8")).reshape(-1, 2)
        return cls(halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64))

    @classmethod
    def joined(cls, parts: Sequence[Keys]) -> Keys:
        """One behind the other; at least one."""
        return cls(np.concatenate([part.heads for part in parts]), np.concatenate([part.tails for part in parts]))

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Keys:
        """Those at these places."""
        return Keys(self.heads[places], self.tails[places])

    def cut(self) -> list[bytes]:
        """Each of them."""
        keys = self.bytes()
        return [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]

    def bytes(self) -> bytes:
        """16 bytes each."""
        return np.column_stack((self.heads, self.tails)).astype(">u8").tobytes()


def find(keys: Keys, wanted: Keys) -> NDArray[np.int64]:
    """Where each of the wanted keys stands among sorted ones, or -1."""
    found = np.full(len(wanted.heads), -1, dtype=np.int64)
    if not len(keys.heads) or not len(found):
        return found
    last = len(keys.heads) - 1
    left = np.arange(len(found))
    at = np.searchsorted(keys.heads, wanted.heads)
    while len(left):  # once, but for keys that share 8 of their bytes
        inside = np.minimum(at, last)
        same = (at <= last) & (keys.heads[inside] == wanted.heads[left])
        hit = same & (keys.tails[inside] == wanted.tails[left])
        found[left[hit]] = at[hit]
        on = same & ~hit
        left, at = left[on], at[on] + 1
    return found


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Items in the order of their keys; `ids` may be missing where nobody needs them."""

    keys: Keys
    contents: NDArray[np.uint64]
    runs: NDArray[np.uint32]
    marks: NDArray[np.uint8]
    ids: pa.StringArray | None = None

    @classmethod
    def of(cls, block: SyncBlock) -> Columns:
        """A block as it is stored; with ids if it was read with them."""
        return cls(
            keys=Keys.of(block.keys),
            contents=np.frombuffer(block.contents, "<u8"),
            runs=np.frombuffer(block.runs, "<u4"),
            marks=np.frombuffer(block.marks, np.uint8),
            ids=unpacked([block.item_ids], [block.size]) if block.item_ids or not block.size else None,
        )

    @classmethod
    def none(cls) -> Columns:
        """No item."""
        empty = np.zeros(0, np.uint64)
        return cls(
            keys=Keys(empty, empty),
            contents=empty,
            runs=np.zeros(0, np.uint32),
            marks=np.zeros(0, np.uint8),
            ids=pa.array([], pa.string()),
        )

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        """One behind the other; at least one, all of them with ids."""
        return cls(
            keys=Keys.joined([part.keys for part in parts]),
            contents=np.concatenate([part.contents for part in parts]),
            runs=np.concatenate([part.runs for part in parts]),
            marks=np.concatenate([part.marks for part in parts]),
            ids=known_as(pa.StringArray, pa.concat_arrays([part.the_ids for part in parts])),
        )

    def __len__(self) -> int:
        return len(self.marks)

    @property
    def the_ids(self) -> pa.StringArray:
        """The ids, which were read."""
        assert self.ids is not None
        return self.ids

    @property
    def known(self) -> int:
        """Items that are there, or may be."""
        return int(np.count_nonzero(self.marks & ItemMark.NEVER_SENT == 0))

    @property
    def dirty(self) -> int:
        """Items that are read again."""
        return int(np.count_nonzero(self.marks & ItemMark.DIRTY))

    def take(self, places: NDArray[np.int64]) -> Columns:
        """Those at these places, in this order."""
        return Columns(
            keys=self.keys.take(places),
            contents=self.contents[places],
            runs=self.runs[places],
            marks=self.marks[places],
            ids=self.the_ids.take(pa.array(places, pa.int64())),
        )

    def block(self, low: bytes) -> SyncBlock:
        """As it is stored; without ids if it has none."""
        return SyncBlock(
            low=low,
            keys=self.keys.bytes(),
            contents=self.contents.astype("<u8").tobytes(),
            runs=self.runs.astype("<u4").tobytes(),
            marks=self.marks.tobytes(),
            item_ids=b"" if self.ids is None else packed(self.ids),
        )

    def split(self, low: bytes) -> list[SyncBlock]:
        """The blocks that these items make, the first of which begins at `low`."""
        if len(self) <= MOST:
            return [self.block(low)]
        count = -(-len(self) // USUAL)
        bounds = [len(self) * part // count for part in range(count + 1)]
        blocks = []
        for begin, end in pairwise(bounds):
            part = Columns(
                keys=self.keys.take(slice(begin, end)),
                contents=self.contents[begin:end],
                runs=self.runs[begin:end],
                marks=self.marks[begin:end],
                ids=self.the_ids.slice(begin, end - begin),
            )
            blocks.append(part.block(part.keys.take(slice(0, 1)).bytes() if begin else low))
        return blocks
