"""Start a job over what failed in another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from blade_server.core.checks import check_reason, raise_for
from blade_server.core.jobs.checks import allowed, check_request_id, given
from blade_server.core.jobs.ids import fingerprint, new_job_id
from blade_server.core.jobs.level import level
from blade_server.core.jobs.statement import classified, resolve, seen
from blade_server.core.sources.sources import Sources
from blade_server.core.sql import Resolved
from blade_server.errors import Precondition, Reason
from blade_server.model import ErrorSummary, Job, JobSpec, NewJob, Source
from blade_server.model.access import Caller
from blade_server.model.policy import JobPolicy
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore


class RetryFailedItems:
    """Stores jobs over the failed items of final ones. Thread-safe."""

    def __init__(
        self, policy: JobPolicy, sources: Sources, store: JobStore, new_jobs: NewJobs, wake: Callable[[], None]
    ) -> None:
        """`wake` is called whenever a job is stored."""
        self._policy = policy
        self._sources = sources
        self._store = store
        self._new_jobs = new_jobs
        self._wake = wake

    def __call__(self, job_id: str, *, request_id: str = "", by: Caller, reason: str = "") -> Job:
        """Stores a new job over the failed items of a final one: the same SQL, limits and metadata.

        A second row with an item id that was there already is no failed item: sending it would overwrite the first.

        Raises:
            NotFound; Precondition if the job is not final, or has no failed items that a retry could mend.
        """
        raise_for([*check_reason(reason), *check_request_id(request_id)])
        request_hash = fingerprint({"retry": given(job_id)})
        stored = self._new_jobs.replay(request_id, request_hash, by=by)
        if stored is not None:  # whatever became of the parent since
            return allowed(stored, by)
        parent = allowed(self._store.get(job_id, history=False), by)
        if parent.sync:
            raise Precondition(
                f"job {job_id!r} is of sync {parent.sync!r}, whose next run reads again what failed; run that",
                reason=Reason.SYNC_STATE,
                metadata={"sync": parent.sync},
            )
        if not parent.status.final:
            raise _refused(parent, f"is {parent.status}, wait until it has ended; there is nothing to retry")
        if not parent.error_summaries:
            raise _refused(parent, "has no failed items; there is nothing to retry")
        resolved = resolve(self._sources, parent.spec.sql, "", parent.spec.source, by=by)
        now = resolved.source.data_type
        if (
            now != parent.spec.data_type
        ):  # else whoever sees the one job would read of another source's rows in the other
            raise _refused(
                parent, f"is of data type {parent.spec.data_type!r}, and its source now of {now!r}; start it anew"
            )
        beyond = [_beyond_retry(parent, summary, resolved.source) for summary in parent.error_summaries]
        if all(beyond):
            raise _refused(parent, "; and ".join(beyond))
        spec = _as_he_may(parent.spec, resolved, self._policy.direct.source.classifications, by)
        new = NewJob(
            job_id=new_job_id(),
            spec=spec,
            source=resolved.source,
            statement=resolved.statement,
            request_id=request_id,
            request_hash=request_hash,
            level=level(spec, resolved.source),
            parent_job_id=job_id,
        )
        job = self._new_jobs.add(new, by=by, reason=reason)
        self._wake()
        return job


def _as_he_may(spec: JobSpec, resolved: Resolved, order: Sequence[str], by: Caller) -> JobSpec:
    allowed = classified(spec.overrides, resolved, order, by=by)
    return replace(
        spec,
        classification=allowed.classification,
        min_classification=allowed.min_classification,
        **seen(resolved, order),
    )


def _beyond_retry(parent: Job, errors: ErrorSummary, source: Source) -> str:
    """Why these rows fail again, and the way out; empty for those that may come through."""
    if errors.reason is Reason.DUPLICATE_ITEM_ID:
        return (
            f"has {errors.count:,} rows that share their item id with another row, which is in the catalog and would "
            "be overwritten by a retry (DUPLICATE_ITEM_ID): make the ids unique, by mapping.item_id of the source or "
            "item_id of a job, and start it again"
        )
    if errors.reason is Reason.MISSING_ITEM_ID and _template(parent, parent.source) == _template(parent, source):
        return (
            f"has {errors.count:,} rows without an item id, by which a retry could find them once they are mended "
            "(MISSING_ITEM_ID): mend the rows, or the template in mapping.item_id of the source, and start it again, "
            "with skip_existing to leave out what is there"
        )
    return ""


def _template(parent: Job, source: Source) -> str:
    return parent.spec.item_id or source.mapping.item_id


def _refused(parent: Job, why: str) -> Precondition:
    status = parent.status.value
    return Precondition(f"job {parent.job_id!r} {why}", reason=Reason.JOB_STATUS, metadata={"status": status})
