"""What a running job writes down: the ledger before its items are sent, a record of what became of them after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blade_server.model.cost import NO_COST, Cost
from blade_server.model.item import ItemError
from blade_server.model.job import WaitReason
from blade_server.model.sync_report import SyncReport


@dataclass(frozen=True, kw_only=True)
class Block:
    """A stretch of the ledger: `keys` holds 16 bytes a row, `outcomes` one.

    Of jobs of syncs: `contents` holds 8 bytes a row, the digest of what it makes of its item, and `item_ids` the ids,
    packed; `deletes`: the items are deleted, and not sent.
    """

    number: int
    keys: bytes
    outcomes: bytes
    contents: bytes | None = None
    item_ids: bytes | None = None
    deletes: bool = False


@dataclass(frozen=True, kw_only=True)
class Display:
    """What a running job shows beside its counters."""

    current_operation: str = ""
    items_per_second: float = 0.0
    seconds_left: float | None = None
    wait_reason: WaitReason | None = None
    wait_detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One commit of progress. `number` counts from 1 over the whole job; counts and `cost` are what is added.

    `new_blocks` are of rows that nothing has to be done for, so that nothing was intended; `report` is all that the run
    of a sync has found and done so far.
    """

    number: int
    success: int = 0
    error: int = 0
    skipped: int = 0
    bytes_uploaded: int = 0
    blocks: Sequence[Block] = ()
    new_blocks: Sequence[Block] = ()
    errors: Sequence[tuple[bytes, ItemError]] = ()
    display: Display
    report: SyncReport | None = None
    cost: Cost = NO_COST
