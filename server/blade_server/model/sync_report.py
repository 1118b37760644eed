"""What a run of a sync found and did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class SyncMode(StrEnum):
    """What a run reads and sends; see `blade.v1.SyncReport.Mode`."""

    FULL = "FULL"
    CHANGED = "CHANGED"
    INCREMENTAL = "INCREMENTAL"
    CHANGE_FEED = "CHANGE_FEED"


class Withheld(StrEnum):
    """Why deletes were withheld; see `blade.v1.SyncReport.Withheld`."""

    ROWS_MISSING = "ROWS_MISSING"
    NO_ROWS = "NO_ROWS"
    ROWS_WITHOUT_ID = "ROWS_WITHOUT_ID"
    SPEC_CHANGED = "SPEC_CHANGED"
    MAX_DELETE_SHARE = "MAX_DELETE_SHARE"
    MAX_DELETES = "MAX_DELETES"
    NOT_CONFIRMED = "NOT_CONFIRMED"
    DESTINATION_CANNOT_DELETE = "DESTINATION_CANNOT_DELETE"
    NOT_ALL_ROWS = "NOT_ALL_ROWS"


@dataclass(frozen=True, kw_only=True)
class SyncCounts:
    """What runs did; see `blade.v1.SyncCounts`."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    withheld: int = 0
    failed: int = 0
    delete_failed: int = 0


@dataclass(frozen=True, kw_only=True)
class SyncReport:
    """What a run found and did; see `blade.v1.SyncReport`. `watermark` (as text) and `version` are what it read.

    `state_generation`: that of the sync's items as the run read them; of a PLAN, which holds as long as it is that.
    """

    run_number: int
    mode: SyncMode
    counts: SyncCounts = field(default_factory=SyncCounts)
    withheld_reason: Withheld | None = None
    withheld_detail: str = ""
    null_cursor_count: int = 0
    watermark: str = ""
    version: int | None = None
    above_ceiling_count: int = 0
    warnings: Sequence[str] = ()
    whole: bool = False
    state_generation: int = 0
