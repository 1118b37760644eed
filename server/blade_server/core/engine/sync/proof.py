"""A VERIFY: the rows of a reading beside the items of a catalog.

A reading leaves 24 bytes a row: the key of its item and the digest of its content. Then the catalog's list is walked
once, or, where it has none, a second reading asks for the items by their ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.arrays import values
from blade_server.arrow.content import content_digest
from blade_server.arrow.items import Items
from blade_server.catalog import files
from blade_server.core.engine.ledger import item_keys
from blade_server.core.engine.sync.blocks import Keys, find

NO_JSON = np.uint64(0)
_LEAST_ROOM = 1024


def contents_of(items: Items) -> NDArray[np.uint64]:
    """The digests of items as they would be sent."""
    return _digests(values(files(items)))


def content_of(file: bytes) -> np.uint64:
    """The digest of one file; that of what is no JSON is the same as no row's."""
    (digest,) = _digests([file])
    return np.uint64(digest)


def _digests(written: Sequence[bytes]) -> NDArray[np.uint64]:
    made = b"".join(content_digest(file) or bytes(8) for file in written)
    return np.frombuffer(made, "<u8").astype(np.uint64)


class Rows:
    """What a reading has shown: sorted once it is at its end (`sort`)."""

    def __init__(self, expected: int | None) -> None:
        room = max(_LEAST_ROOM, expected or 0)
        self._heads, self._tails, self._digests = (np.empty(room, np.uint64) for _ in range(3))
        self._size = 0
        self._rejected: list[Keys] = []
        self._sorted, self._contents = Keys.of(b""), np.zeros(0, np.uint64)
        self.right = np.zeros(0, np.bool_)
        """Of the first row of each item: whether that is there as it is."""
        self.there = np.zeros(0, np.bool_)
        """Of the first row of each item: whether that is there at all."""

    def add(self, keys: Keys, digests: NDArray[np.uint64]) -> None:
        """More rows."""
        end = self._size + len(digests)
        while end > len(self._digests):
            self._heads, self._tails, self._digests = (
                np.concatenate([column, np.empty(len(column) // 2 + 1, np.uint64)])
                for column in (self._heads, self._tails, self._digests)
            )
        part = slice(self._size, end)
        self._heads[part], self._tails[part] = keys
        self._digests[part] = digests
        self._size = end

    @property
    def size(self) -> int:
        """Rows that are items."""
        return self._size

    def add_rejected(self, keys: Keys) -> None:
        """Rows that are no items: what is there under their ids is not to be judged."""
        self._rejected.append(keys)

    def sort(self) -> None:
        """All rows are there. Of several with one id, each is as good as the others."""
        keys = Keys(self._heads[: self._size], self._tails[: self._size])
        order = np.lexsort((keys.tails, keys.heads))
        self._sorted, self._contents = keys.take(order), self._digests[: self._size][order]
        self._heads = self._tails = self._digests = np.empty(0, np.uint64)
        self.right = np.zeros(self._size, np.bool_)
        self.there = np.zeros(self._size, np.bool_)
        rejected = Keys.joined([Keys.of(b""), *self._rejected])
        self._rejected = [rejected.take(np.lexsort((rejected.tails, rejected.heads)))]

    def meet(self, keys: Keys, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Takes in items that are there; which of them no row has."""
        at = find(self._sorted, keys)
        known = at >= 0
        places, found = at[known], digests[known]
        self.there[places] = True
        equal = (self._contents[places] == found) & (found != NO_JSON)
        self.right[places[equal]] = True
        for place, digest in zip(places[~equal].tolist(), found[~equal], strict=True):
            self.right[place] = self._twin_holds(place, digest)
        extra: NDArray[np.bool_] = ~known & (find(self._rejected[0], keys) < 0)
        return extra

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """Where the first row of each item stands, or -1."""
        return find(self._sorted, keys)

    def settle(self, place: int, file: bytes | None) -> None:
        """That is what is there in the place of a row's item: None if nothing is, empty if nobody can tell."""
        self.there[place] = file is not None
        self.right[place] = file is not None and (not file or self._twin_holds(place, content_of(file)))

    def _twin_holds(self, place: int, digest: np.uint64) -> bool:
        """Whether one of the rows with the same id says so."""
        heads, tails = self._sorted
        at = place
        while at < len(heads) and heads[at] == heads[place] and tails[at] == tails[place]:
            if self._contents[at] == digest != NO_JSON:
                return True
            at += 1
        return False

    @property
    def _first(self) -> NDArray[np.bool_]:
        """Which rows are the first of their item."""
        heads, tails = self._sorted
        first = np.ones(len(heads), np.bool_)
        first[1:] = (heads[1:] != heads[:-1]) | (tails[1:] != tails[:-1])
        return first

    def counts(self) -> tuple[int, int, int]:
        """Items that are missing, different, equal."""
        items = int(np.count_nonzero(self._first))
        there, equal = (int(np.count_nonzero(which)) for which in (self.there, self.right))
        return items - there, there - equal, equal


def keys_of(ids: pa.StringArray) -> Keys:
    """The keys of items."""
    return Keys.of(b"".join(item_keys(ids)))
