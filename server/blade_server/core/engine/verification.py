"""The comparison of a catalog with the rows that a VERIFY has read, by turns, between which the job may pause."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from blade_server.arrow.items import Items
from blade_server.core.engine.read.items import read_items
from blade_server.core.engine.read.reader import Pass
from blade_server.core.engine.run import Run
from blade_server.core.engine.sync.catalog_reads import CatalogReads
from blade_server.core.engine.sync.extras import Extras
from blade_server.core.engine.sync.proof import content_of, contents_of, keys_of
from blade_server.core.engine.sync.samples import Samples
from blade_server.core.engine.sync.sync_job import SyncJob
from blade_server.core.engine.sync.verified import rejected_keys
from blade_server.errors import ResultTruncated
from blade_server.model.sync import ChangeKind

LOOKED_AT_AGAIN = 10_000
"""So many items that are not as they should be are looked up once more: others may have written meanwhile."""
COMPARED_CONTENTS = 1_000
"""About so many items have their contents compared where the catalog has no list."""


class Verification:
    """Belongs to the job's thread. Raises what the warehouse and the catalog raise."""

    def __init__(self, run: Run, sync: SyncJob, reading: Pass) -> None:
        self._run = run
        self._sync = sync
        self._reading = reading
        self._rows = sync.rows
        self._reads: CatalogReads = sync.catalog
        self._samples: Samples = sync.samples
        self._extras = Extras(sync.own_items(), self._reads, self._samples)
        self._compared = self._unreadable = 0

    def take_in(self) -> Iterator[None]:
        """Reads all rows, where no pass does."""
        read = 0
        for items, rejected in read_items(self._reading):
            read += len(items) + len(rejected)
            self._rows.add(keys_of(items.ids), contents_of(items))
            self._rows.add_rejected(rejected_keys(rejected))
            yield
        announced = self._reading.expected_rows
        if announced is not None and read < announced:
            raise ResultTruncated(f"the warehouse announced {announced} rows and sent {read}")

    def compare(self) -> Iterator[None]:
        """All rows with the catalog, once they are taken in."""
        self._rows.sort()
        if self._reads.capabilities().lists:
            yield from self._walk()
        else:
            yield from self._look_up()
        self._count()

    def look_again(self) -> Iterator[None]:
        """At what is not as it should be, with samples of it; not before a repair, which does the same."""
        left = LOOKED_AT_AGAIN if self._reads.capabilities().lists else 0
        missing, different, _ = self._rows.counts()
        if not missing + different:
            return
        for items, _ in read_items(self._reading):
            wrong = self._wrong(items)
            for at in wrong[:left].tolist():
                item = items[at : at + 1]
                (place,) = self._rows.find(keys_of(item.ids)).tolist()
                self._rows.settle(place, self._reads.file(item.item_ids[0]))
            left -= min(left, len(wrong))
            self._sample(items.take(self._wrong(items)))
            yield
        self._count()

    def _walk(self) -> Iterator[None]:
        after = ""
        while True:
            page = self._reads.page(after)
            ids = pa.array([item_id for item_id, _ in page.items], pa.string())
            keys = keys_of(ids)
            digests = np.array([content_of(file) for _, file in page.items], np.uint64)
            extra = self._rows.meet(keys, digests)
            self._extras.add(ids.filter(pa.array(extra)), keys.take(extra))
            yield
            if not page.next:
                break
            after = page.next
        self._extras.look_again()
        yield

    def _look_up(self) -> Iterator[None]:
        """By their ids, and only some contents."""
        chance = min(1.0, COMPARED_CONTENTS / max(1, self._rows.size))
        for items, _ in read_items(self._reading):
            keys = keys_of(items.ids)
            places = self._rows.find(keys)
            there = self._reads.existing(items.item_ids)
            chosen = keys.heads.astype(np.float64) < chance * 2.0**64
            for place, item_id, compares in zip(places.tolist(), items.item_ids, chosen.tolist(), strict=True):
                file: bytes | None = b"" if item_id in there else None
                if file is not None and compares:
                    file = self._reads.file(item_id)
                    self._compared += 1
                    self._unreadable += file == b""
                self._rows.settle(place, file)
            yield
        self._warn_of_what_was_not_compared()

    def _warn_of_what_was_not_compared(self) -> None:
        warn, compared = self._sync.findings.warn, self._compared - self._unreadable
        warn("extras were not checked: the catalog has no list")
        warn(f"the contents of {compared} of {self._rows.size} items were compared, the others were looked up by id")

    def _wrong(self, items: Items) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        places = self._rows.find(keys_of(items.ids))
        return np.flatnonzero((places >= 0) & ~self._rows.right[places])

    def _sample(self, wrong: Items) -> None:
        there = self._rows.there[self._rows.find(keys_of(wrong.ids))]
        self._samples.add_items(ChangeKind.CREATE, wrong.take(np.flatnonzero(~there)))
        self._samples.add_items(ChangeKind.UPDATE, wrong.take(np.flatnonzero(there)), with_files=True)

    def _count(self) -> None:
        missing, different, equal = self._rows.counts()
        self._sync.verified(missing=missing, different=different, extra=self._extras.count, equal=equal)
        if self._extras.not_own:
            self._sync.findings.warn(
                f"{self._extras.not_own} items that no row has are not this sync's, which has the scope "
                f"{self._sync.task.spec.scope!r}: they are not counted"
            )
