"""Samples of what a run would change: of each kind the items with the least ids, the same each time."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from blade_server.arrow.arrays import values
from blade_server.arrow.items import Items
from blade_server.catalog import files
from blade_server.model.sync import ChangeKind, ItemChange

MAX_SAMPLES = 100
MAX_FILE_BYTES = 256 << 10
"""Larger files are not kept for a comparison."""


@dataclass(frozen=True, order=True, slots=True)
class Sample:
    """`file`: the item as it would be sent; empty: it is not kept. `detail`: more, for people."""

    item_id: str
    file: bytes = b""
    detail: str = ""


class Samples:
    """Belongs to one thread at a time."""

    def __init__(self) -> None:
        self._of: dict[ChangeKind, list[Sample]] = {kind: [] for kind in ChangeKind}

    def of(self, kind: ChangeKind) -> Sequence[Sample]:
        """In the order of the ids."""
        return self._of[kind]

    def add(self, kind: ChangeKind, samples: Iterable[Sample]) -> None:
        """Takes in those with the least ids; one of each id."""
        kept = self._of[kind]
        for sample in samples:
            if len(kept) == MAX_SAMPLES and sample.item_id >= kept[-1].item_id:
                continue
            if not any(one.item_id == sample.item_id for one in kept):
                insort(kept, sample)
                del kept[MAX_SAMPLES:]

    def add_items(self, kind: ChangeKind, items: Items, *, with_files: bool = False) -> None:
        """The same of items, with what would be sent if asked for."""
        places = self._least(kind, items.ids)
        if not places:
            return
        chosen = items.take(places)
        files = [_file(chosen[at : at + 1]) if with_files else b"" for at in range(len(chosen))]
        self.add(kind, map(Sample, values(chosen.ids), files))

    def _least(self, kind: ChangeKind, ids: pa.StringArray) -> list[int]:
        """The places of those that can be among the least."""
        kept = self._of[kind]
        found = enumerate(values(ids))
        if len(kept) == MAX_SAMPLES:
            return [at for at, item_id in sorted(found, key=_by_id)[:MAX_SAMPLES] if item_id < kept[-1].item_id]
        return [at for at, _ in sorted(found, key=_by_id)[:MAX_SAMPLES]]

    def changes(self, *kinds: ChangeKind) -> list[ItemChange]:
        """Without what differs in them."""
        return [
            ItemChange(kind=kind, item_id=sample.item_id, detail=sample.detail)
            for kind in kinds
            for sample in self._of[kind]
        ]


def _by_id(found: tuple[int, str]) -> str:
    return found[1]


def _file(item: Items) -> bytes:
    (written,) = values(files(item))
    return written if len(written) <= MAX_FILE_BYTES else b""
