"""The rows of a PLAN beside what its sync knows: counted, with samples, and nothing is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blade_server.arrow.digests import digests
from blade_server.arrow.items import Items
from blade_server.core.engine.batches import Chunk
from blade_server.core.engine.ledger import Admissions, Verdict
from blade_server.core.engine.sync.catalog_reads import CatalogReads
from blade_server.core.engine.sync.comparison import Comparison, Wanted
from blade_server.core.engine.sync.known import KnownItems
from blade_server.core.engine.sync.samples import Sample, Samples
from blade_server.core.transform.transform import Rejected
from blade_server.model import ItemError
from blade_server.model.sync import ChangeKind


class Forecast(Comparison):
    """One reading; belongs to the reader's thread until that is at its end.

    All rows are counted by each reading, also those that an earlier claim has recorded.
    """

    def __init__(self, known: KnownItems, wanted: Wanted, reads: CatalogReads) -> None:
        super().__init__(known, wanted)
        self._reads = reads
        self.samples = Samples()
        self.counts: Counter[str] = Counter()

    def saw_rejected(self, rejected: Sequence[Rejected]) -> None:
        """As every comparison, and notes them."""
        super().saw_rejected(rejected)
        self._sample_errors([row.error for row in rejected])

    def compare(
        self, items: Items, ids: Sequence[bytes], admitted: Admissions, errors: Sequence[tuple[bytes, ItemError]]
    ) -> Chunk:
        """The chunk, in which nothing is sent; all arguments as `Comparison.compare` has them."""
        found, contents = self._found, digests(items)
        first = _first(ids, admitted)
        equal = first & self._is_equal(found, contents, np.full(len(items), Verdict.NEW, np.uint8))
        sent = np.flatnonzero(first & ~equal)
        facts = self._facts(found, contents, sent, np.full(len(items), Verdict.NEW, np.uint8))
        adopted = self._adopted(items, sent[facts["adopts"]])
        there = np.isin(sent, adopted)
        created, updated = sent[facts["created"] & ~there], sent[~facts["created"] & ~there]
        self.counts["unchanged"] += int(np.count_nonzero(equal)) + len(adopted)
        self.counts["created"] += len(created)
        self.counts["updated"] += len(updated)
        self.samples.add_items(ChangeKind.CREATE, items.take(created))
        self.samples.add_items(ChangeKind.UPDATE, items.take(updated), with_files=True)
        self._sample_errors([error for _, error in errors])
        return self._nothing_sent(items, admitted, np.flatnonzero(admitted.verdicts <= Verdict.UNCERTAIN), errors)

    def _adopted(self, items: Items, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those that the sync does not know and that are there as they are."""
        if not len(places):
            return places
        some = items.take(places)
        there = self._reads.stored(some)
        return places[[item_id in there for item_id in some.item_ids]]

    def _sample_errors(self, errors: Sequence[ItemError]) -> None:
        self.samples.add(ChangeKind.REJECT, [Sample(error.item_id, detail=error.message) for error in errors])


def _first(ids: Sequence[bytes], admitted: Admissions) -> NDArray[np.bool_]:
    """Which rows are the first with their item id: the others stand in the ledger under another key."""
    if not admitted.verdicts.any():
        return np.ones(len(ids), np.bool_)
    return np.array([key == item_id for key, item_id in zip(admitted.keys, ids, strict=True)], np.bool_)
