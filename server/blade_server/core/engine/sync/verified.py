"""The readings of a VERIFY: one that takes the rows in, and one that sends what was found to be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blade_server.arrow.digests import digests
from blade_server.arrow.items import Items
from blade_server.core.engine.batches import FACTS, Chunk
from blade_server.core.engine.ledger import Admissions, Verdict, item_key
from blade_server.core.engine.sync.blocks import Keys
from blade_server.core.engine.sync.comparison import Comparison, Wanted
from blade_server.core.engine.sync.known import Found, LoadedItems
from blade_server.core.engine.sync.proof import Rows, contents_of
from blade_server.core.engine.sync.samples import Samples
from blade_server.core.transform.transform import Rejected
from blade_server.model import ItemError
from blade_server.model.sync import ChangeKind


class TakeIn(Comparison):
    """Notes all rows, and sends nothing; belongs to the reader's thread."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(LoadedItems(0, []), Wanted(sends=False))
        self._rows = rows

    def saw_rejected(self, rejected: Sequence[Rejected]) -> None:
        """As every comparison, and notes them."""
        super().saw_rejected(rejected)
        self._rows.add_rejected(rejected_keys(rejected))

    def compare(
        self, items: Items, ids: Sequence[bytes], admitted: Admissions, errors: Sequence[tuple[bytes, ItemError]]
    ) -> Chunk:
        """The chunk, in which nothing is sent; all arguments as `Comparison.compare` has them."""
        self._rows.add(Keys.of(b"".join(ids)), contents_of(items))
        open_ = np.flatnonzero(admitted.verdicts <= Verdict.UNCERTAIN)
        return self._nothing_sent(items, admitted, open_, errors)


class Repair(Comparison):
    """Sends the items that are not there as they are, each after another look; belongs to the reader's thread."""

    def __init__(self, rows: Rows, samples: Samples) -> None:
        super().__init__(LoadedItems(0, []), Wanted())
        self._rows = rows
        self._samples = samples

    def _there(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the rows the catalog has an item of; a view may show more of them now than it did (-1)."""
        known = self._rows.there
        return (at >= 0) & known[at] if len(known) else np.zeros(len(at), np.bool_)

    def compare(
        self, items: Items, ids: Sequence[bytes], admitted: Admissions, errors: Sequence[tuple[bytes, ItemError]]
    ) -> Chunk:
        """The chunk of what is wrong; all arguments as `Comparison.compare` has them."""
        at = self._rows.find(Keys.of(b"".join(ids)))
        open_ = admitted.verdicts <= Verdict.UNCERTAIN
        right = (at >= 0) & self._rows.right[at] if len(self._rows.right) else np.zeros(len(at), np.bool_)
        right &= admitted.verdicts != Verdict.UNCERTAIN  # an earlier claim may have sent it: another look says so
        chosen = np.flatnonzero(open_ & ~right)
        contents = digests(items)
        facts = np.zeros(len(chosen), FACTS)
        facts["content"] = contents[chosen]
        facts["created"] = ~self._there(at[chosen])
        facts["adopts"] = admitted.verdicts[chosen] == Verdict.NEW
        self._samples.add_items(ChangeKind.CREATE, items.take(chosen[facts["created"]]))
        self._samples.add_items(ChangeKind.UPDATE, items.take(chosen[~facts["created"]]), with_files=True)
        nothing = Found(np.zeros(len(at), np.bool_), contents, np.zeros(len(at), np.uint8))
        return Chunk(
            items=items.take(chosen),
            keys=[admitted.keys[place] for place in chosen.tolist()],
            uncertain=frozenset(range(len(chosen))),
            errors=errors,
            facts=facts,
            equal=self._equal(admitted, nothing, contents, np.flatnonzero(open_ & right)),
        )


def rejected_keys(rejected: Sequence[Rejected]) -> Keys:
    """Of those that have ids."""
    return Keys.of(b"".join(item_key(row.error.item_id) for row in rejected if row.error.item_id))
