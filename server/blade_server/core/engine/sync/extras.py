"""Items of a catalog that no row has."""

from __future__ import annotations

from itertools import compress

import numpy as np
import pyarrow as pa

from blade_server.arrow.arrays import values
from blade_server.core.engine.sync.blocks import Keys
from blade_server.core.engine.sync.catalog_reads import CatalogReads
from blade_server.core.engine.sync.known import KnownItems
from blade_server.core.engine.sync.samples import Sample, Samples
from blade_server.model.sync import ChangeKind

LOOKED_AT_AGAIN = 10_000
"""So many of them are looked up once more: they may have been deleted meanwhile."""


class Extras:
    """Belongs to the job's thread. `count`: how many there are; `not_own`: others, which are another sync's."""

    def __init__(self, own: KnownItems | None, reads: CatalogReads, samples: Samples) -> None:
        """`own`: only what it knows is this sync's; None: all that is there is."""
        self._own = own
        self._reads = reads
        self._samples = samples
        self._ids: list[str] = []
        self.count = 0
        self.not_own = 0

    def add(self, ids: pa.StringArray, keys: Keys) -> None:
        """More of them."""
        if not len(ids):
            return
        own = np.ones(len(ids), np.bool_) if self._own is None else self._own.look(keys).known
        found = list(compress(values(ids), own.tolist()))
        self.count += len(found)
        self.not_own += len(ids) - len(found)
        room = LOOKED_AT_AGAIN - len(self._ids)
        self._ids += found[:room]

    def look_again(self) -> None:
        """After the walk: which of them are there still; samples are of these. Raises as CatalogReads."""
        there = self._reads.existing(self._ids)
        self.count -= len(self._ids) - len(there)
        self._samples.add(ChangeKind.DELETE, map(Sample, sorted(there)))
        self._ids.clear()
