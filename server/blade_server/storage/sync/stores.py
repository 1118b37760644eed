"""What the engine needs of the tables of syncs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from blade_server.storage.database import Database
from blade_server.storage.sync.folds import FoldStore
from blade_server.storage.sync.missing import MissingStore
from blade_server.storage.sync.plans import PlanStore
from blade_server.storage.sync.state import StateStore


@dataclass(frozen=True, kw_only=True)
class SyncStores:
    """All of it for one process."""

    states: StateStore
    folds: FoldStore
    missing: MissingStore
    plans: PlanStore

    @classmethod
    def over(cls, database: Database) -> Self:
        """In this database."""
        return cls(
            states=StateStore(database),
            folds=FoldStore(database),
            missing=MissingStore(database),
            plans=PlanStore(database),
        )
