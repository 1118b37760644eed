"""A stretch of what a sync knows of its items."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncBlock:
    """Items in the order of their keys, each thing that is known of them apart.

    `keys` holds 16 bytes for each item, `contents` 8 (the digest of what was sent), `runs` 4 (the number of the run
    that sent it), `marks` one; `item_ids` the ids, packed. `low` is the least key that the block may have.
    """

    low: bytes
    keys: bytes
    contents: bytes
    marks: bytes
    runs: bytes = b""
    item_ids: bytes = b""

    @property
    def size(self) -> int:
        """How many items it has."""
        return len(self.marks)
