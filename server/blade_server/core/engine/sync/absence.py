"""The items that a reading of all rows did not show: which of them are deleted now, and what is kept of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from itertools import islice

from blade_server.core.engine.sync.guards import Objection, Reading, mistrusted, too_many
from blade_server.core.engine.sync.known import Absent
from blade_server.core.engine.sync.sync_job import SyncJob
from blade_server.model import JobKind
from blade_server.model.sync import ChangeKind, Deletes
from blade_server.model.sync_report import SyncMode, Withheld

MAX_SAMPLES = 100


class Absence:
    """Belongs to the job's thread."""

    def __init__(self, sync: SyncJob, reading: Reading, done: set[int]) -> None:
        """`done`: what earlier claims of the job deleted, or could not, by the heads of their keys."""
        self._sync = sync
        self._name = sync.task.sync
        self._job_id = sync.job_id
        self._missing = sync.stores.missing
        self._mistrust = mistrusted(reading)
        self._anew = reading.spec_changed
        self._done = done

    @property
    def trusted(self) -> bool:
        """Whether the reading says something of what is gone."""
        return self._mistrust is None

    def never_sent(self) -> Iterator[Absent]:
        """Items that are nowhere any more: the sync can forget them."""
        return self._sync.items.absent(self._sync.stores.states, self._name, never_sent=True, but=self._done)

    def to_delete(self, *, can_delete: bool) -> Iterator[Absent]:
        """The items that are to be deleted; the others are noted, and what is withheld is in the findings.

        `can_delete`: the destination can. Raises StorageUnavailable.
        """
        task = self._sync.task
        total = sum(len(some.keys) for some in self._absent())
        if task.kind is JobKind.DELETE:
            return self._accepted(can_delete=can_delete)
        if task.spec.deletes is not Deletes.DELETE or task.spec.mode is SyncMode.FULL:
            self._note(counts=self.trusted)
            return iter(())
        if self._mistrust is not None:
            self._note(counts=self._mistrust.reason is Withheld.SPEC_CHANGED)
            self._withhold(self._mistrust, total)
            return iter(())
        return self._within_guards(total, can_delete=can_delete)

    def _within_guards(self, total: int, *, can_delete: bool) -> Iterator[Absent]:
        guards = self._sync.task.spec.guards
        waits = guards.confirm_runs > 1 or guards.grace_s > 0
        ready: set[bytes] | None = None
        if waits:
            self._note(counts=True)
            confirmed = self._missing.confirmed(
                self._name, self._job_id, runs=guards.confirm_runs, grace_s=guards.grace_s
            )
            ready = set(confirmed)
        count = total if ready is None else sum(len(some.keys) for some in _among(self._absent(), ready))
        deleted = len(
            self._done
        )  # a view may have shown other rows to an earlier claim: the guard is over the whole job
        objection = too_many(guards, count + deleted, self._sync.items.known) or self._cannot(
            count, can_delete=can_delete
        )
        if objection is not None:
            if not waits:
                self._note(counts=True)
            self._withhold(objection, total)
            return iter(())
        if ready is None:
            self._sync.insist(lambda: self._missing.forget_others(self._name, self._job_id))
            return self._absent()
        if total > count:
            runs = f"{guards.confirm_runs} runs in a row have not shown them, the first {guards.grace_s:g} s ago"
            words = f"{total - count} items wait until {runs}"
            self._withhold(Objection(Withheld.NOT_CONFIRMED, words), total - count, but=ready)
        return _among(self._absent(), ready)

    def _accepted(self, *, can_delete: bool) -> Iterator[Absent]:
        """Those of the list that somebody let go which are absent now."""
        task = self._sync.task
        accepted = set(self._sync.insist(lambda: list(self._missing.noted(self._name, task.accepts))))
        count = sum(len(some.keys) for some in _among(self._absent(), accepted))
        objection = self._mistrust
        if objection is not None and objection.reason is Withheld.NO_ROWS and task.force_empty:
            objection = None
        objection = objection or self._cannot(count, can_delete=can_delete)
        if objection is not None:
            self._withhold(objection, count)
            return iter(())
        return _among(self._absent(), accepted)

    @staticmethod
    def _cannot(count: int, *, can_delete: bool) -> Objection | None:
        if can_delete or not count:
            return None
        return Objection(Withheld.DESTINATION_CANNOT_DELETE, "the catalog says that it deletes nothing")

    def _absent(self) -> Iterator[Absent]:
        return self._sync.items.absent(self._sync.stores.states, self._name, never_sent=False, but=self._done)

    def _note(self, *, counts: bool) -> None:
        """Keeps what is absent, unless the reading was cut short: that shows nothing."""
        mistrust = self._mistrust
        if mistrust is not None and mistrust.reason is Withheld.ROWS_MISSING:
            return
        for some in self._absent():
            self._sync.insist(
                partial(
                    self._missing.note,
                    self._name,
                    self._job_id,
                    self._sync.task.run_number,
                    some,
                    counts=counts,
                    anew=self._anew,
                )
            )
        self._sync.insist(lambda: self._missing.forget_others(self._name, self._job_id))

    def _withhold(self, objection: Objection, items: int, but: Collection[bytes] = ()) -> None:
        if not items:
            return
        self._sync.findings.withhold(objection.reason, items, objection.words)
        ids = (
            item_id
            for some in self._absent()
            for key, item_id in zip(some.keys, some.item_ids, strict=True)
            if key not in but
        )
        samples = list(islice(ids, MAX_SAMPLES))
        self._sync.insist(
            lambda: self._missing.show_samples(self._job_id, ChangeKind.WITHHELD, samples, objection.words)
        )


def _among(absent: Iterator[Absent], chosen: Collection[bytes]) -> Iterator[Absent]:
    for some in absent:
        both = [(key, one) for key, one in zip(some.keys, some.item_ids, strict=True) if key in chosen]
        if both:
            yield Absent([key for key, _ in both], [item_id for _, item_id in both])
