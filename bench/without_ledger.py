"""`blade serve` with the writes of the durable ledger left out: what they cost is the difference. For figures only."""

from __future__ import annotations

from dataclasses import replace

from blade_sandbox import leash
from blade_server.storage.engine.ledger import LedgerStore
from blade_server.storage.engine.records import RecordStore

record = RecordStore.record
LedgerStore.intend = lambda self, claim, blocks: None  # type: ignore[method-assign]
RecordStore.record = lambda self, claim, one: record(self, claim, replace(one, blocks=()))  # type: ignore[method-assign]

if __name__ == "__main__":
    leash.main()
