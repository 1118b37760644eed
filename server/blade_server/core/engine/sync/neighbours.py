"""Other syncs whose items have the same data type in the same destination: a row may move from the scope of one into
that of another, and its item with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blade_server.core.engine.ledger import Mark
from blade_server.core.engine.sync.blocks import ItemMark, Keys
from blade_server.core.engine.sync.known import LookedUpItems
from blade_server.storage.sync.stores import SyncStores

_MAY_BE_THERE = (Mark.INTENDED, Mark.SUCCESS, Mark.CREATED, Mark.UNCHANGED, Mark.DOUBTED)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Of one sync."""

    stores: SyncStores
    names: Sequence[str]

    @classmethod
    def of(cls, stores: SyncStores, sync: str) -> Neighbours:
        """Those that there are now. Raises StorageUnavailable."""
        return cls(stores=stores, names=stores.states.neighbours(sync))

    def have(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of these items one of them has sent, or is about to send. Raises StorageUnavailable."""
        theirs = np.zeros(len(keys.heads), np.bool_)
        if not self.names or not len(theirs):
            return theirs
        for name in self.names:
            found = LookedUpItems(self.stores.states, name).look(keys)
            theirs |= found.known & (found.marks & ItemMark.NEVER_SENT == 0)
        sent = self.stores.folds.in_ledgers(self.names, keys.cut(), _MAY_BE_THERE)  # of runs that are not folded yet
        return theirs | np.fromiter((key in sent for key in keys.cut()), np.bool_, len(theirs))
