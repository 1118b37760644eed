"""The items that a change data feed takes away: a delete there is evidence of its own, but the guards hold.

All of them are noted as missing first: what is withheld or cannot be deleted stays there for the next run, or for who
accepts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from blade_server.core.engine.ledger import heads, item_key
from blade_server.core.engine.sync.blocks import ItemMark, Keys
from blade_server.core.engine.sync.guards import Objection, too_many
from blade_server.core.engine.sync.known import Absent, KnownItems
from blade_server.core.engine.sync.samples import MAX_SAMPLES, Sample, Samples
from blade_server.core.engine.sync.sync_job import SyncJob
from blade_server.model.sync import ChangeKind, Deletes
from blade_server.model.sync_report import Withheld


class FeedDeletes:
    """Belongs to the job's thread. Raises StorageUnavailable only through the job's patience."""

    def __init__(self, sync: SyncJob, known: KnownItems) -> None:
        self._sync = sync
        self._known = known
        self._missing = sync.stores.missing

    def noted_before(self, limit: int) -> list[str]:
        """Ids that earlier runs noted; at most so many."""
        name, job_id = self._sync.task.sync, self._sync.job_id
        return self._sync.insist(lambda: self._missing.noted_by_others(name, job_id, limit))

    def note(self, item_ids: Sequence[str]) -> Sequence[bytes]:
        """These have no rows any more. Returns the keys of those that another sync has: this one forgets them."""
        known, theirs = self._known_ones(item_ids)
        sync = self._sync
        if known.keys:
            sync.insist(
                lambda: self._missing.note(
                    sync.task.sync, sync.job_id, sync.task.run_number, known, counts=True, anew=False
                )
            )
        return theirs

    def forget_others(self) -> None:
        """What earlier runs noted and this one did not has rows again."""
        self._sync.insist(lambda: self._missing.forget_others(self._sync.task.sync, self._sync.job_id))

    def to_delete(self, done: set[int], *, can_delete: bool) -> Iterator[Absent]:
        """All that was noted, unless it is withheld; without what earlier claims have deleted."""
        sync = self._sync
        if sync.task.spec.deletes is not Deletes.DELETE:
            return iter(())
        count = sum(len(some.keys) for some in self._noted(done))
        objection = self._objection(count, can_delete=can_delete)
        if objection is None:
            return self._noted(done)
        sync.findings.withhold(objection.reason, count, objection.words)
        ids = list(islice((one for some in self._noted(done) for one in some.item_ids), MAX_SAMPLES))
        sync.insist(lambda: self._missing.show_samples(sync.job_id, ChangeKind.WITHHELD, ids, objection.words))
        return iter(())

    def foresee(self, gone: Iterable[Sequence[str]], samples: Samples, *, can_delete: bool) -> None:
        """What of it a run would delete; nothing is noted."""
        if self._sync.task.spec.deletes is not Deletes.DELETE:
            return
        count, found = 0, Samples()
        for item_ids in gone:
            known, _ = self._known_ones(item_ids)
            count += len(known.keys)
            found.add(ChangeKind.DELETE, map(Sample, sorted(known.item_ids)[:MAX_SAMPLES]))
        objection = self._objection(count, can_delete=can_delete)
        if objection is None:
            self._sync.findings.foresee(deleted=count)
            samples.add(ChangeKind.DELETE, found.of(ChangeKind.DELETE))
            return
        self._sync.findings.withhold(objection.reason, count, objection.words)
        withheld = [Sample(one.item_id, detail=objection.words) for one in found.of(ChangeKind.DELETE)]
        samples.add(ChangeKind.WITHHELD, withheld)

    def _objection(self, count: int, *, can_delete: bool) -> Objection | None:
        if not count:
            return None
        objection = too_many(self._sync.task.spec.guards, count, self._sync.state.known_items)
        if objection is None and not can_delete:
            words = "the catalog says that it deletes nothing"
            objection = Objection(Withheld.DESTINATION_CANNOT_DELETE, words)
        return objection

    def _known_ones(self, item_ids: Sequence[str]) -> tuple[Absent, Sequence[bytes]]:
        """Those that the sync has in the destination, and the keys of those that another one has there now."""
        if not item_ids:
            return Absent([], []), []
        keys = [item_key(item_id) for item_id in item_ids]
        wanted = Keys.of(b"".join(keys))
        found = self._sync.insist(lambda: self._known.look(wanted, saw=False))
        there = np.flatnonzero(found.known & (found.marks & ItemMark.NEVER_SENT == 0))
        theirs = self._sync.theirs(wanted.take(there))
        mine = there[~theirs].tolist()
        absent = Absent([keys[at] for at in mine], [item_ids[at] for at in mine])
        return absent, [keys[at] for at in there[theirs].tolist()]

    def _noted(self, done: set[int]) -> Iterator[Absent]:
        for keys, item_ids in self._missing.noted_items(self._sync.task.sync, self._sync.job_id):
            left = [at for at, head in enumerate(heads(keys).tolist()) if head not in done]
            if left:
                yield Absent([keys[at] for at in left], [item_ids[at] for at in left])
