"""A job of a sync: what it has beside other jobs.

Before it reads anything, the ledgers of the sync's earlier jobs go into what the sync knows. That stays as it is until
the job is final, so all claims of the job compare with the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blade_server.arrow.arrays import values
from blade_server.core.engine.batches import Seen
from blade_server.core.engine.halt import Control, Insist
from blade_server.core.engine.sync.blocks import Columns, ItemMark, Keys
from blade_server.core.engine.sync.catalog_reads import CatalogReads
from blade_server.core.engine.sync.comparison import Comparison, Wanted
from blade_server.core.engine.sync.cursor import later
from blade_server.core.engine.sync.differences import differences
from blade_server.core.engine.sync.findings import Findings
from blade_server.core.engine.sync.fold import Folder
from blade_server.core.engine.sync.forecast import Forecast
from blade_server.core.engine.sync.foreseen import foresee, sample_deletes
from blade_server.core.engine.sync.guards import Reading
from blade_server.core.engine.sync.known import KnownItems, LoadedItems, LookedUpItems
from blade_server.core.engine.sync.neighbours import Neighbours
from blade_server.core.engine.sync.proof import Rows
from blade_server.core.engine.sync.samples import Sample, Samples
from blade_server.core.engine.sync.verified import Repair, TakeIn
from blade_server.errors import BladeError, Precondition, Reason
from blade_server.model import Claim, JobKind, Plan, WaitReason
from blade_server.model.sync import ChangeKind, ItemChange, NullCursor, SyncState, SyncTask
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
        self._planned: Plan | None = None
        self._reads: CatalogReads | None = None
        self._forecast: Forecast | None = None
        self._rows: Rows | None = None
        self.samples = Samples()
        self._changes: list[ItemChange] = []
        self._gap = False

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
        if self.task.kind is JobKind.DELETE:
            self._check_list(state)
        if self.task.kind is JobKind.APPLY:
            self._planned = self._still_planned(state)
        self.findings.state_generation = state.generation
        self._state = state

    def _check_list(self, state: SyncState) -> None:
        """Raises Precondition (PLAN_STALE) unless the deletes that somebody let go are still those of that run."""
        if state.key_hash != self.task.key_hash:
            raise Precondition(
                "the rows or their mapping are others since the deletes were withheld; run the sync, then accept those",
                reason=Reason.PLAN_STALE,
            )
        if not self.insist(lambda: self.stores.missing.keeps(self.task.sync, self.task.accepts)):
            raise Precondition(
                f"what job {self.task.accepts!r} withheld was deleted, is there again, or was counted anew by a later "
                "run; if that withheld deletes, accept those",
                reason=Reason.PLAN_STALE,
            )

    def _still_planned(self, state: SyncState) -> Plan:
        """What the plan read, if all is as it was then. Raises Precondition (PLAN_STALE)."""
        planned = self.insist(lambda: self.stores.plans.get(self.task.plan_job_id))
        if planned is None:
            why = "it is not kept any more"
        elif planned.key_hash != self.task.key_hash:
            why = "the rows or their mapping are others since"
        elif planned.state_generation != state.generation:
            why = f"what sync {self.task.sync!r} knows of its items is another since"
        else:
            return planned.plan
        raise Precondition(
            f"plan {self.task.plan_job_id!r} is out of date: {why}; make a new plan", reason=Reason.PLAN_STALE
        )

    def reads(self, reads: CatalogReads) -> None:
        """How the catalog is asked; before anything is read."""
        self._reads = reads

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
        return self.findings.plan.whole and (self.task.as_run or self.task.kind is JobKind.DELETE)

    # ------------------------------------------------------------------------------------------------ reading

    @property
    def plan(self) -> Plan | None:
        """What an APPLY has to read; None: a job that finds out itself."""
        return self._planned

    def planned(self, plan: Plan) -> None:
        """That is what is read."""
        self.findings.plan = plan

    def comparison(self) -> Comparison:
        """For one reading of the planned rows."""
        if self.task.kind is JobKind.VERIFY:
            self._rows, self.samples = Rows(self.findings.plan.announced), Samples()
            return Repair(self._rows, self.samples) if self.task.repair else TakeIn(self._rows)
        if self._known is None:
            self._known = self.insist(self._load)
        spec, cursor = self.task.spec, self.task.spec.cursor
        follows = cursor is not None and spec.mode is SyncMode.INCREMENTAL and self.task.as_run
        wanted = Wanted(
            sends=self.task.kind is not JobKind.DELETE,
            sends_all=spec.mode is SyncMode.FULL and self.task.as_run,
            adopts=spec.adopt and self.state.last_whole_time is None,
            doubtful=self.state.doubtful,
            cursor=cursor.column if cursor and follows else "",
            null_cursor=cursor.null_cursor if cursor else NullCursor.READ,
        )
        if self.task.kind is JobKind.PLAN:
            assert self._reads is not None
            self._forecast = Forecast(self._known, wanted, self._reads)
            self.samples = self._forecast.samples
            return self._forecast
        return Comparison(self._known, wanted)

    def _load(self) -> KnownItems:
        states, sync, plan = self.stores.states, self.task.sync, self.findings.plan
        if not self.task.writes:  # others may write meanwhile
            with states.at_one_moment(sync) as (generation, size, blocks):
                known = LoadedItems(size, blocks)
            if generation != self.state.generation:
                self.findings.warn("another run of the sync has ended meanwhile: a new plan may say something else")
            return known
        if not plan.whole and plan.announced is not None and plan.announced * FEW < self.state.known_items:
            return LookedUpItems(states, sync)
        return LoadedItems(states.size(sync), states.blocks(sync, with_ids=False))

    @property
    def items(self) -> LoadedItems:
        """All items of the sync, in a reading of all rows."""
        assert isinstance(self._known, LoadedItems)
        return self._known

    def give_up(self) -> None:
        """After a reading of all rows: items that it did not show and that another sync has are that one's."""
        if self.task.spec.scope:
            neighbours = self.insist(lambda: Neighbours.of(self.stores, self.task.sync))
            self.insist(lambda: self.items.give_up(neighbours.have))

    def theirs(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of these items another sync has, of those that the feed takes away from this one."""
        if not self.task.spec.scope:
            return np.zeros(len(keys.heads), np.bool_)
        return self.insist(lambda: Neighbours.of(self.stores, self.task.sync).have(keys))

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

    # ---------------------------------------------------------------------------------------- change data feeds

    @property
    def feed_since(self) -> int | None:
        """The version after which the feed is read; None: all rows are."""
        task, state = self.task, self.state
        if not task.as_run or task.spec.mode is not SyncMode.CHANGE_FEED or task.whole or state.doubtful:
            return None
        if state.key_hash != task.key_hash or state.dirty_items > MAX_DIRTY:
            return None
        return state.feed_version

    @property
    def reads_feed(self) -> bool:
        """Whether what is read is a feed."""
        return self.task.spec.mode is SyncMode.CHANGE_FEED and not self.findings.plan.whole and self.task.as_run

    def gap(self, words: str) -> Precondition:
        """The error for a feed that does not have all changes; once the job has ended, the feed is forgotten."""
        self._gap = True
        return Precondition(f"{words}; the next run reads all rows", reason=Reason.CHANGE_FEED_GAP)

    def dirty_ids(self) -> list[str]:
        """The ids of items that are read again. Waits for PostgreSQL."""
        return self.insist(self._dirty_ids) if self.state.dirty_items else []

    def _dirty_ids(self) -> list[str]:
        ids: list[str] = []
        for block in self.stores.states.marked(self.task.sync):
            columns = Columns.of(block)
            dirty = np.flatnonzero(columns.marks & ItemMark.DIRTY)
            ids += values(columns.the_ids.take(pa.array(dirty, pa.int64())))
        return ids

    @property
    def known(self) -> KnownItems:
        """What the sync knows of its items, in a reading or after it."""
        assert self._known is not None
        return self._known

    # ------------------------------------------------------------------------------------------------ planning

    @property
    def catalog(self) -> CatalogReads:
        """How the catalog is asked."""
        assert self._reads is not None
        return self._reads

    def foresee(self, reading: Reading | None, *, can_delete: bool) -> None:
        """What a run would do, after a reading; None: of rows that say nothing of what is gone."""
        forecast = self._forecast
        assert forecast is not None
        samples = forecast.samples
        self.findings.foresee(**{name: forecast.counts[name] for name in ("created", "updated", "unchanged")})
        if reading is not None:
            foreseen = self.insist(lambda: foresee(self.task, self.items, reading, self.stores.missing, can_delete))
            self.findings.foresee(deleted=len(foreseen.deleted.heads))
            if foreseen.objection is not None:
                objection, count = foreseen.objection, len(foreseen.withheld.heads)
                self.findings.withhold(objection.reason, count, objection.words)
            self.insist(lambda: sample_deletes(foreseen, samples, self.stores.states, self.task.sync))
        self._show(samples)

    def _show(self, samples: Samples) -> None:
        self._changes = samples.changes(*(kind for kind in ChangeKind if kind is not ChangeKind.UPDATE))
        self._changes += [self._update(sample) for sample in samples.of(ChangeKind.UPDATE)]

    def _update(self, sample: Sample) -> ItemChange:
        there = self.catalog.file(sample.item_id) if sample.file else b""
        change = ItemChange(kind=ChangeKind.UPDATE, item_id=sample.item_id, detail=sample.detail)
        if there is None:
            return replace(change, detail="the catalog does not have it any more")
        return replace(change, fields=differences(there, sample.file)) if there else change

    # ----------------------------------------------------------------------------------------------- verifying

    @property
    def rows(self) -> Rows:
        """What a VERIFY has read."""
        assert self._rows is not None
        return self._rows

    def own_items(self) -> KnownItems | None:
        """What tells this sync's items from those of others; None: all are its own."""
        return self.insist(self._load) if self.task.spec.scope else None

    def verified(self, *, missing: int, different: int, extra: int, equal: int) -> None:
        """So many items are not as they should be; where they are sent, each is counted when it is."""
        self.findings.foresee(deleted=extra)
        if not self.task.repair:
            self.findings.foresee(created=missing, updated=different, unchanged=equal)

    def show_verified(self) -> None:
        """Keeps samples; after all else."""
        self._show(self.samples)
        state = self.insist(lambda: self.stores.states.get(self.task.sync))
        if state is not None and state.generation != self.state.generation:
            self.findings.warn("another run of the sync has ended meanwhile: what it did may seem to be wrong")

    # -------------------------------------------------------------------------------------------------- ending

    def end(self, unsettled_s: float, *, completed: bool) -> SyncEnd:
        """What the end of the job changes."""
        findings, task = self.findings, self.task
        moves = completed and task.as_run and task.writes
        whole = moves and findings.plan.whole
        watermark = self._watermark() if moves else None  # which may warn
        feeds = moves and task.spec.mode is SyncMode.CHANGE_FEED and self._all_readable("version of the feed")
        return SyncEnd(
            report=findings.report(),
            watermark=watermark,
            watermark_type="" if self._cursor_kind is None else str(self._cursor_kind),
            key_hash=task.key_hash if whole else None,
            unsettled_s=unsettled_s,
            table_id=findings.plan.table_id if feeds else None,
            feed_version=findings.plan.version if feeds else None,
            forgets_feed=self._gap,
            changes=self._changes if completed else (),
        )

    def words(self) -> str:
        """What was done, for people."""
        if self.task.kind is JobKind.VERIFY:
            missing, different, equal = self.rows.counts()
            found = f"{missing} missing, {different} different, {self.findings.count('deleted')} extra, {equal} equal"
            return f"Compared: {found}" + ("; what was missing or different is sent" if self.task.repair else "")
        counts = ("created", "updated", "unchanged", "deleted", "failed")
        done = ", ".join(f"{self.findings.count(name)} {name}" for name in counts)
        withheld = self.findings.withheld_items
        return f"{'Completed' if self.task.writes else 'Would be'}: {done}" + (
            f"; {withheld} deletes withheld" if withheld else ""
        )

    def _watermark(self) -> str | None:
        """The new one; None: it stays, since not all that was to be read can be read again later."""
        findings = self.findings
        if self.task.spec.mode is not SyncMode.INCREMENTAL or not findings.watermark:
            return None
        if not self._all_readable("watermark"):
            return None
        if findings.plan.whole or self._cursor_kind is None:
            return findings.watermark
        return later(self.state.watermark, findings.watermark, self._cursor_kind)

    def _all_readable(self, mark: str) -> bool:
        """Whether what failed can be read again by its id; if not, a warning."""
        findings = self.findings
        if not findings.rows_without_id and findings.count("failed") <= MAX_DIRTY:
            return True
        findings.warn(
            f"the {mark} stays: {findings.rows_without_id} rows without an item id and "
            f"{findings.count('failed')} failed ones can only be read again with the others"
        )
        return False


def _going(control: Control) -> bool:
    control.check()
    return True
