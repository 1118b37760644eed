"""Let go the deletes that a run withheld."""

from __future__ import annotations

from blade_server.core.checks import raise_for
from blade_server.core.syncs.apply import stale
from blade_server.core.syncs.sync_jobs import Asked, SyncJobs
from blade_server.errors import Precondition, Reason
from blade_server.model import Job, JobKind
from blade_server.model.sync_report import Withheld
from blade_server.storage.sync.history import PastRun, SyncHistory

LIFTED = frozenset({Withheld.MAX_DELETE_SHARE, Withheld.MAX_DELETES, Withheld.NOT_CONFIRMED, Withheld.NO_ROWS})
"""Where somebody can say that the rows are gone for good. All others mean that nobody knows which are."""


class AcceptDeletes:
    """Thread-safe."""

    def __init__(self, jobs: SyncJobs, history: SyncHistory) -> None:
        self._jobs = jobs
        self._history = history

    def __call__(self, name: str, job_id: str, asked: Asked, *, force_empty: bool = False) -> Job:
        """Stores a job that deletes those items whose deletes a run withheld and that are still absent.

        `force_empty`: also where the source had no rows at all. Raises Invalid: no reason is given; NotFound: the run;
        Precondition: it withheld none, PLAN_STALE, JOB_STATUS while it is not final; and as SyncJobs.start.
        """
        given = {"job_id": job_id, "reason": asked.reason}
        raise_for((field, "is required") for field, value in given.items() if not value.strip())
        body = {"sync": name, "kind": JobKind.DELETE, "accepts": job_id, "force_empty": force_empty}
        stored = self._jobs.replayed(asked, **body)
        if stored is not None:
            return stored
        sync = self._jobs.found(name, by=asked.by)
        run = self._history.run(name, job_id)
        _check(name, run, force_empty)
        told = {"accepts": job_id, "force_empty": force_empty}
        new = self._jobs.built(sync, JobKind.DELETE, by=asked.by, **told)
        if new.task is None or new.task.key_hash != run.task.key_hash:
            why = "the query, the filter, the mapping or the key was changed since"
            raise stale(name, job_id, why, "run the sync again, it counts anew what is gone")
        return self._jobs.store(new, asked, **body)


def _check(name: str, run: PastRun, force_empty: bool) -> None:
    if not run.status.final:
        raise Precondition(
            f"job {run.job_id!r} is {run.status}; wait until it has ended",
            reason=Reason.JOB_STATUS,
            metadata={"status": run.status.value},
        )
    reason = run.report.withheld_reason if run.report else None
    if reason is None or run.report is None or not run.report.counts.withheld:
        raise _refused(f"job {run.job_id!r} withheld no deletes")
    if reason not in LIFTED:
        raise _refused(
            f"job {run.job_id!r} cannot tell which rows are gone ({reason}: {run.report.withheld_detail}); mend that "
            f"and run sync {name!r} again"
        )
    if reason is Withheld.NO_ROWS and not force_empty:
        raise _refused(
            f"job {run.job_id!r} found no rows at all; if the source is meant to be empty, say `force_empty`, and "
            "everything that the sync has sent is deleted"
        )


def _refused(why: str) -> Precondition:
    return Precondition(why, reason=Reason.SYNC_STATE)
