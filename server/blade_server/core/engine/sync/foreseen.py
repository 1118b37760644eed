"""What a run would delete, and what it would withhold, by the rules of `absence`: said, and nothing is noted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from blade_server.arrow.arrays import values
from blade_server.core.engine.sync.blocks import Columns, Keys, find
from blade_server.core.engine.sync.guards import Objection, Reading, mistrusted, too_many
from blade_server.core.engine.sync.known import LoadedItems
from blade_server.core.engine.sync.samples import Sample, Samples
from blade_server.model.sync import ChangeKind, Deletes, Guards, SyncTask
from blade_server.model.sync_report import SyncMode, Withheld
from blade_server.storage.sync.missing import MissingStore
from blade_server.storage.sync.state import StateStore


class Foreseen(NamedTuple):
    """The keys of items that would be deleted, and of those that would not although they are gone, with the reason."""

    deleted: Keys
    withheld: Keys
    objection: Objection | None


def foresee(task: SyncTask, items: LoadedItems, reading: Reading, missing: MissingStore, can_delete: bool) -> Foreseen:
    """After a reading of all rows. Raises StorageUnavailable."""
    absent, guards = items.unseen(), task.spec.guards
    none = absent.take(slice(0, 0))
    if task.spec.deletes is not Deletes.DELETE or task.spec.mode is SyncMode.FULL or not len(absent.heads):
        return Foreseen(none, none, None)
    ready = _ready(absent, guards, missing, task.sync)
    count = int(np.count_nonzero(ready))
    objection = mistrusted(reading) or too_many(guards, count, items.known)
    if objection is None and count and not can_delete:
        objection = Objection(Withheld.DESTINATION_CANNOT_DELETE, "the catalog says that it deletes nothing")
    if objection is not None:
        return Foreseen(none, absent, objection)
    waits = len(absent.heads) - count
    if waits:
        runs = f"{guards.confirm_runs} runs in a row have not shown them, the first {guards.grace_s:g} s ago"
        objection = Objection(Withheld.NOT_CONFIRMED, f"{waits} items wait until {runs}")
    return Foreseen(absent.take(ready), absent.take(~ready), objection)


def _ready(absent: Keys, guards: Guards, missing: MissingStore, sync: str) -> NDArray[np.bool_]:
    """Which of them have been gone for long enough."""
    if guards.confirm_runs <= 1 and guards.grace_s <= 0:
        return np.ones(len(absent.heads), np.bool_)
    confirmed = missing.would_be_confirmed(sync, runs=guards.confirm_runs, grace_s=guards.grace_s)
    ready = np.zeros(len(absent.heads), np.bool_)
    at = find(absent, Keys.of(b"".join(confirmed)))
    ready[at[at >= 0]] = True
    return ready


def sample_deletes(foreseen: Foreseen, samples: Samples, states: StateStore, sync: str) -> None:
    """Takes in those with the least ids, without what another job has changed meanwhile. Raises StorageUnavailable."""
    words = foreseen.objection.words if foreseen.objection else ""
    for kind, keys, detail in (
        (ChangeKind.DELETE, foreseen.deleted, ""),
        (ChangeKind.WITHHELD, foreseen.withheld, words),
    ):
        if not len(keys.heads):
            continue
        for block in states.blocks(sync, with_ids=True):
            columns = Columns.of(block)
            there = np.flatnonzero(find(keys, columns.keys) >= 0)
            if len(there):
                samples.add(kind, [Sample(one, detail=detail) for one in values(columns.take(there).the_ids)])
