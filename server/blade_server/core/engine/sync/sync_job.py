"""A job of a sync: what it has beside other jobs.

Before it reads anything, the ledgers of the sync's earlier jobs go into what the sync knows. That stays as it is until
the job is final, so all claims of the job compare with the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pyarrow as pa

from blade_server.core.engine.batches import Seen
from blade_server.core.engine.halt import Control, Insist
from blade_server.core.engine.sync.comparison import Comparison, Wanted
from blade_server.core.engine.sync.cursor import later
from blade_server.core.engine.sync.findings import Findings
from blade_server.core.engine.sync.fold import Folder
from blade_server.core.engine.sync.known import KnownItems, LoadedItems, LookedUpItems
from blade_server.errors import BladeError, Precondition, Reason
from blade_server.model import Claim, JobKind, Plan, WaitReason
from blade_server.model.sync import NullCursor, SyncState, SyncTask
from blade_server.model.sync_end import SyncEnd
from blade_server.model.sync_report import SyncMode
from blade_server.storage.sync.stores import SyncStores

log = logging.getLogger(__name__)

MAX_DIRTY = 10_000
"""So many items are read again by their ids; with more, what was to be read is read as a whole."""
FEW = 20
"""A reading of fewer rows than this part of what is known looks its items up instead of taking all of them along."""


class SyncJob:
    """Belongs to the job's thread."""

    def __init__(self, claim: Claim, task: SyncTask, stores: SyncStores, insist: Insist) -> None:
        self.task = task
        self.stores = stores
        self.findings = Findings(task, claim.job.report)
        self.insist = insist
        self.job_id = claim.job_id
        self._state: SyncState | None = None
        self._known: KnownItems | None = None
        self._whole_age_s: float | None = None
        self._cursor_kind: pa.DataType | None = None

    @property
    def state(self) -> SyncState:
        """What the sync knew before this job, once it is read."""
        assert self._state is not None
        return self._state

    @property
    def whole_age_s(self) -> float | None:
        """Seconds since the last run over all rows; None: there was none."""
        return self._whole_age_s

    def prepare(self, control: Control, settle_s: float) -> None:
        """What earlier jobs of the sync did is known, and none of their requests is at work any more; once for a claim.

        Raises HaltedError; Precondition if there is no such sync any more.
        """
        if self._state is not None:
            return
        Folder(self.stores.folds, self.task.sync, self.insist).fold(settle_s=settle_s, go_on=lambda: _going(control))
        control.check()
        state = self.insist(lambda: self.stores.states.get(self.task.sync))
        if state is None:
            raise Precondition(f"there is no sync {self.task.sync!r} any more", reason=Reason.SYNC_NOT_FOUND)
        self._whole_age_s, unsettled_s = self.insist(lambda: self.stores.states.ages(self.task.sync))
        if unsettled_s > 0 and self.task.writes:
            detail = "requests of the run before may be at work in the destination"
            control.wait(unsettled_s, WaitReason.RECOVERING, detail)
        if self.task.kind is JobKind.DELETE and state.key_hash != self.task.key_hash:
            raise Precondition(
                "the rows or their mapping are others since the deletes were withheld; run the sync, then accept those",
                reason=Reason.PLAN_STALE,
            )
        self._state = state

    def fold(self, settle_s: float, go_on: Callable[[], bool]) -> None:
        """After the end of the job. What is left undone here, the sync's next job does."""
        try:
            Folder(self.stores.folds, self.task.sync, self.insist).fold(settle_s=settle_s, go_on=go_on)
        except BladeError as exc:
            log.info("the ledger of job %s is folded later: %s", self.job_id, exc)
        except Exception:
            log.exception("the ledger of job %s could not be folded; the next job of its sync tries again", self.job_id)

    @property
    def shows_absence(self) -> bool:
        """Whether what this job does not meet is gone."""
        return self.findings.plan.whole and self.task.kind in {JobKind.SYNC, JobKind.DELETE}

    # ------------------------------------------------------------------------------------------------ reading

    def planned(self, plan: Plan) -> None:
        """That is what is read."""
        self.findings.plan = plan

    def comparison(self) -> Comparison:
        """For one reading of the planned rows."""
        if self._known is None:
            self._known = self.insist(self._load)
        spec, cursor = self.task.spec, self.task.spec.cursor
        follows = cursor is not None and spec.mode is SyncMode.INCREMENTAL and self.task.kind is JobKind.SYNC
        return Comparison(
            self._known,
            Wanted(
                sends=self.task.kind is not JobKind.DELETE,
                sends_all=spec.mode is SyncMode.FULL and self.task.kind is JobKind.SYNC,
                adopts=spec.adopt and self.state.last_whole_time is None,
                doubtful=self.state.doubtful,
                cursor=cursor.column if cursor and follows else "",
                null_cursor=cursor.null_cursor if cursor else NullCursor.READ,
            ),
        )

    def _load(self) -> KnownItems:
        states, sync, plan = self.stores.states, self.task.sync, self.findings.plan
        if not plan.whole and plan.announced is not None and plan.announced * FEW < self.state.known_items:
            return LookedUpItems(states, sync)
        return LoadedItems(states.size(sync), states.blocks(sync, with_ids=False))

    @property
    def items(self) -> LoadedItems:
        """All items of the sync, in a reading of all rows."""
        assert isinstance(self._known, LoadedItems)
        return self._known

    def read(self, seen: Seen) -> None:
        """A reading came to its end."""
        findings, spec = self.findings, self.task.spec
        self._cursor_kind = seen.cursor_kind
        findings.rows_without_id = seen.rows_without_id
        findings.above_ceiling = seen.above_ceiling
        findings.null_cursors = seen.null_cursors
        findings.watermark = seen.watermark
        if seen.future and spec.cursor is not None:
            findings.warn(
                f"the cursor column {spec.cursor.column!r} has the value {seen.future}, which lies in the future; the "
                "watermark is not moved beyond now, so rows from there on are read by every run"
            )

    # -------------------------------------------------------------------------------------------------- ending

    def end(self, unsettled_s: float, *, completed: bool) -> SyncEnd:
        """What the end of the job changes."""
        findings, task = self.findings, self.task
        moves = completed and task.kind is JobKind.SYNC
        whole = moves and findings.plan.whole
        watermark = self._watermark() if moves else None  # which may warn
        return SyncEnd(
            report=findings.report(),
            watermark=watermark,
            key_hash=task.key_hash if whole else None,
            unsettled_s=unsettled_s,
        )

    def words(self) -> str:
        """What was done, for people."""
        counts = ("created", "updated", "unchanged", "deleted", "failed")
        done = ", ".join(f"{self.findings.count(name)} {name}" for name in counts)
        withheld = self.findings.withheld_items
        return f"Completed: {done}" + (f"; {withheld} deletes withheld" if withheld else "")

    def _watermark(self) -> str | None:
        """The new one; None: it stays, since not all that was to be read can be read again later."""
        findings = self.findings
        if self.task.spec.mode is not SyncMode.INCREMENTAL or not findings.watermark:
            return None
        if findings.rows_without_id or findings.count("failed") > MAX_DIRTY:
            findings.warn(
                f"the watermark stays: {findings.rows_without_id} rows without an item id and "
                f"{findings.count('failed')} failed ones can only be read again with the others"
            )
            return None
        if findings.plan.whole or self._cursor_kind is None:
            return findings.watermark
        return later(self.state.watermark, findings.watermark, self._cursor_kind)


def _going(control: Control) -> bool:
    control.check()
    return True
