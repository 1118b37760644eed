"""What the end of a run changes of what its sync knows beside its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blade_server.model.sync import ItemChange
from blade_server.model.sync_report import SyncReport


@dataclass(frozen=True, kw_only=True)
class SyncEnd:
    """What a run found, and what a COMPLETED one moves; None: that stays as it is.

    `watermark_type`: that of the cursor column. `key_hash`: of a run over all rows. `unsettled_s`: so long requests of
    it may be at work yet, whatever its status. `changes`: samples to keep with the job. `forgets_feed`: the next run
    reads all rows, whatever the status.
    """

    report: SyncReport
    watermark: str | None = None
    watermark_type: str = ""
    key_hash: str | None = None
    table_id: str | None = None
    feed_version: int | None = None
    forgets_feed: bool = False
    unsettled_s: float = 0.0
    changes: Sequence[ItemChange] = ()
