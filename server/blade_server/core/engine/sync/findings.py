"""What a run of a sync has found and done so far: its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from blade_server.core.engine.ledger import Mark
from blade_server.model import Plan
from blade_server.model.sync import SyncTask
from blade_server.model.sync_report import SyncCounts, SyncMode, SyncReport, Withheld

_COUNTED = {
    Mark.CREATED: "created",
    Mark.SUCCESS: "updated",
    Mark.UNCHANGED: "unchanged",
    Mark.ERROR: "failed",
    Mark.DOUBTED: "failed",
}
_COUNTED_OF_DELETES = {Mark.DELETED: "deleted", Mark.ERROR: "delete_failed", Mark.DOUBTED: "delete_failed"}


@dataclass
class Findings:
    """Belongs to the job's thread. `before`: what earlier claims of the job have recorded."""

    task: SyncTask
    before: SyncReport | None = None
    plan: Plan = field(default_factory=lambda: Plan(statement=""))
    state_generation: int = 0
    watermark: str = ""
    null_cursors: int = 0
    rows_without_id: int = 0
    above_ceiling: int = 0
    withheld: Withheld | None = None
    withheld_detail: str = ""
    withheld_items: int = 0
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        before = SyncCounts() if self.before is None else self.before.counts
        self._counts: dict[str, int] = {**asdict(before), "withheld": 0}

    def add(self, mark: Mark, items: int, *, deletes: bool = False) -> None:
        """This has become of so many more."""
        name = (_COUNTED_OF_DELETES if deletes else _COUNTED).get(mark)
        if name:
            self._counts[name] += items

    def warn(self, words: str) -> None:
        """Something the user should know; once."""
        if words not in self.warnings:
            self.warnings.append(words)

    def withhold(self, why: Withheld, items: int, words: str) -> None:
        """So many deletes do not take place."""
        self.withheld, self.withheld_items, self.withheld_detail = why, items, words

    def foresee(self, **counts: int) -> None:
        """So many would be, as far as is known by now."""
        self._counts.update(counts)

    def count(self, name: str) -> int:
        """One of the counts of `SyncCounts`."""
        return self._counts[name]

    def report(self) -> SyncReport:
        """All of it."""
        task = self.task
        return SyncReport(
            run_number=task.run_number,
            mode=self.mode,
            counts=SyncCounts(**{**self._counts, "withheld": self.withheld_items}),
            withheld_reason=self.withheld,
            withheld_detail=self.withheld_detail,
            null_cursor_count=self.null_cursors,
            above_ceiling_count=self.above_ceiling,
            watermark=self.watermark,
            version=self.plan.version,
            warnings=tuple(self.warnings),
            whole=self.plan.whole,
            state_generation=self.state_generation,
        )

    @property
    def mode(self) -> SyncMode:
        """What is read: the sync's mode, or CHANGED where that reads a part and all rows are read."""
        if self.plan.whole and self.task.spec.mode is not SyncMode.FULL:
            return SyncMode.CHANGED
        return self.task.spec.mode
