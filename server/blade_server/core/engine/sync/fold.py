"""The ledgers of final jobs go into what their sync knows: in the order of keys, in bounded memory, bit by bit.

A ledger that is large is read several times, each time for a part of the keys. What is folded twice does no harm, so
whoever finds a ledger that is not folded does it: the server that ran the job right after its end, or else the one that
runs the sync's next job, before it reads anything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np

from blade_server.core.engine.halt import Insist
from blade_server.core.engine.sync.blocks import FIRST, LEAST, Columns
from blade_server.core.engine.sync.effects import Effect, Effects, applied, resolved, structural
from blade_server.model.sync_block import SyncBlock
from blade_server.storage.sync.folds import FoldSlice, FoldStore, Unfolded

ITEMS_AT_ONCE = 2_000_000
"""Items in memory, about 60 bytes each."""
SLICE_ITEMS = 50_000
SLICE_BLOCKS = 256
"""Of one transaction, at most."""


class Folder:
    """Folds for one sync."""

    def __init__(self, store: FoldStore, sync: str, insist: Insist) -> None:
        self._store = store
        self._sync = sync
        self._insist = insist

    def fold(self, *, settle_s: float, go_on: Callable[[], bool] = lambda: True) -> None:
        """Folds all final jobs of the sync; stops early once `go_on` says no.

        `settle_s`: so long after its end a job's requests may be at work in the destination.
        """
        for job in self._insist(lambda: self._store.unfolded(self._sync)):
            if not self._fold(job, settle_s, go_on):
                return

    def _fold(self, job: Unfolded, settle_s: float, go_on: Callable[[], bool]) -> bool:
        size = self._insist(lambda: self._store.size(job.job_id))
        parts = -(-size // ITEMS_AT_ONCE)
        bounds = [2**64 * part // max(1, parts) for part in range(parts + 1)]
        open_requests = False
        for least, end in pairwise(bounds):
            effects = self._insist(partial(self._effects, job, least, end - 1))
            open_requests |= bool(np.isin(effects.kinds, [Effect.OPEN, Effect.DELETE_OPEN, Effect.DOUBTED]).any())
            begin = 0
            while begin < len(effects):
                if not go_on():
                    return False
                some = effects.cut(begin, min(len(effects), begin + SLICE_ITEMS))
                begin += self._insist(partial(self._fold_slice, job, some)) or len(effects)
        self._insist(lambda: self._store.finish(job, changed=size > 0, open_requests=open_requests, settle_s=settle_s))
        return True

    def _effects(self, job: Unfolded, least: int, most: int) -> Effects:
        return resolved(self._store.ledger(job.job_id), least, most)

    def _fold_slice(self, job: Unfolded, effects: Effects) -> int:
        """Folds the first of these effects; how many. 0: there is nothing left to fold."""
        with self._store.slice(job) as stored:
            return 0 if stored is None else fold_slice(stored, effects, job.run_number)


@dataclass
class _Rewritten:
    """What becomes of the blocks of one slice."""

    changed: list[SyncBlock] = field(default_factory=list)
    whole: list[tuple[bytes, Columns]] = field(default_factory=list)
    """Blocks whose items are others now, in the order of their keys."""
    removed: list[bytes] = field(default_factory=list)
    known: int = 0
    dirty: int = 0

    def count(self, before: Columns, after: Columns) -> None:
        self.known += after.known - before.known
        self.dirty += after.dirty - before.dirty


def fold_slice(stored: FoldSlice, effects: Effects, run: int) -> int:
    """Folds the first of these effects, on some blocks; how many."""
    keys = effects.keys.cut()
    lows = stored.lows(keys[0], keys[-1]) or [FIRST]
    begins = [0, *(bisect_left(keys, low) for low in lows[1:]), len(keys)]
    touched = [(low, begin, end) for low, begin, end in zip(lows, begins, begins[1:], strict=False) if end > begin]
    touched = touched[:SLICE_BLOCKS]
    known = {block.low: Columns.of(block) for block in stored.blocks_without_ids([low for low, _, _ in touched])}
    changes = {low: effects.cut(begin, end) for low, begin, end in touched}
    others = [low for low in changes if low not in known or structural(known[low], changes[low])]
    with_ids = {block.low: Columns.of(block) for block in stored.blocks([low for low in others if low in known])}
    rewritten = _Rewritten()
    for low, change in changes.items():
        before = with_ids.get(low, known.get(low, Columns.none()))
        after = applied(before, change, run)
        rewritten.count(before, after)
        if low in others:
            rewritten.whole.append((low, after))
        elif after.marks.tobytes() != before.marks.tobytes() or (change.kinds == Effect.SENT).any():
            rewritten.changed.append(after.block(low))
    _write(stored, rewritten)
    end = touched[-1][2]
    if stored.any_missing:
        over = np.isin(effects.kinds[:end], [Effect.SENT, Effect.GONE])
        stored.not_missing(effects.keys.take(np.flatnonzero(over)).cut())
    return end


def _write(stored: FoldSlice, rewritten: _Rewritten) -> None:
    blocks = [block for low, columns in _merged(stored, rewritten) for block in columns.split(low)]
    if rewritten.removed:
        stored.remove(rewritten.removed)
    if blocks:
        stored.put(blocks)
    if rewritten.changed:
        stored.change(rewritten.changed)
    if rewritten.known or rewritten.dirty:
        stored.count(rewritten.known, rewritten.dirty)


def _merged(stored: FoldSlice, rewritten: _Rewritten) -> list[tuple[bytes, Columns]]:
    """The whole blocks; those that have become small are put behind the ones before them."""
    result: list[tuple[bytes, Columns]] = []
    for low, columns in rewritten.whole:
        if len(columns) >= LEAST or low == FIRST:
            result.append((low, columns))
            continue
        before = stored.before(low)
        assert before is not None, "the first block is always there"
        if result and (result[-1][0] >= before or before in rewritten.removed):
            place, neighbour = result.pop()
        else:
            place, neighbour = before, _neighbour(stored, rewritten, before)
        rewritten.removed.append(low)
        result.append((place, Columns.joined([neighbour, columns])))
    return result


def _neighbour(stored: FoldSlice, rewritten: _Rewritten, low: bytes) -> Columns:
    """A block that is not among the whole ones; what was changed in it is."""
    (block,) = stored.blocks([low])
    columns = Columns.of(block)
    for at, changed in enumerate(rewritten.changed):
        if changed.low == low:
            del rewritten.changed[at]
            new = Columns.of(changed)
            return Columns(keys=columns.keys, contents=new.contents, runs=new.runs, marks=new.marks, ids=columns.ids)
    return columns
