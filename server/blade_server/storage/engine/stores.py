"""Where the holders of claims keep what they must not forget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from blade_server.storage.clock import Clock
from blade_server.storage.database import Database
from blade_server.storage.engine.claims import ClaimStore
from blade_server.storage.engine.leases import Leases
from blade_server.storage.engine.ledger import LedgerStore
from blade_server.storage.engine.paces import PaceStore
from blade_server.storage.engine.records import RecordStore
from blade_server.storage.engine.witness import Witness
from blade_server.storage.sync.stores import SyncStores


@dataclass(frozen=True, kw_only=True)
class Stores:
    """All of them for one process; `holds` are the paces that all its jobs share."""

    leases: Leases
    holds: PaceStore
    claims: ClaimStore
    ledgers: LedgerStore
    records: RecordStore
    paces: PaceStore
    syncs: SyncStores

    @classmethod
    def over(
        cls, database: Database, urgent: Database, *, witness: Witness | None = None, clock: Clock | None = None
    ) -> Self:
        """Leases and holds have connections of their own in `urgent`, so that they never wait for the jobs' writes."""
        return cls(
            leases=Leases(urgent, witness, clock),
            holds=PaceStore(urgent),
            claims=ClaimStore(database),
            ledgers=LedgerStore(database),
            records=RecordStore(database),
            paces=PaceStore(database),
            syncs=SyncStores.over(database),
        )
