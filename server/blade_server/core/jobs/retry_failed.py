"""Start a job over what failed in another one."""

from __future__ import annotations

from collections.abc import Callable

from blade_server.core.jobs.checks import check_reason, check_request_id, given, raise_for
from blade_server.core.jobs.ids import fingerprint, new_job_id
from blade_server.core.jobs.statement import resolve
from blade_server.core.sources.sources import Sources
from blade_server.errors import Precondition, Reason
from blade_server.model import Job, NewJob
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore


class RetryFailedItems:
    """Stores jobs over the failed items of final ones. Thread-safe."""

    def __init__(
        self, sources: Sources, store: JobStore, new_jobs: NewJobs, wake: Callable[[], None], *, max_open_jobs: int
    ) -> None:
        """`wake` is called whenever a job is stored."""
        self._sources = sources
        self._store = store
        self._new_jobs = new_jobs
        self._wake = wake
        self._max_open_jobs = max_open_jobs

    def __call__(self, job_id: str, *, request_id: str = "", actor: str, reason: str = "") -> Job:
        """Stores a new job over the failed items of a final one: the same SQL, limits and metadata.

        A second row with an item id that was there already is no failed item: sending it would overwrite the first.

        Raises:
            NotFound; Precondition if the job is not final or has no failed items.
        """
        raise_for([*check_reason(reason), *check_request_id(request_id)])
        request_hash = fingerprint({"retry": given(job_id)})
        stored = self._new_jobs.replay(request_id, request_hash)
        if stored is not None:  # whatever became of the parent since
            return stored
        parent = self._store.get(job_id, history=False)
        failed = sum(s.count for s in parent.error_summaries if s.reason is not Reason.DUPLICATE_ITEM_ID)
        if not parent.status.final or not failed:
            why = "has no failed items" if parent.status.final else f"is {parent.status}, wait until it has ended"
            raise Precondition(
                f"job {job_id!r} {why}; there is nothing to retry",
                reason=Reason.JOB_STATUS,
                metadata={"status": parent.status.value},
            )
        resolved = resolve(self._sources, parent.spec.sql, "", parent.spec.source)
        new = NewJob(
            job_id=new_job_id(),
            spec=parent.spec,
            source=resolved.source,
            statement=resolved.statement,
            request_id=request_id,
            request_hash=request_hash,
            parent_job_id=job_id,
        )
        job = self._new_jobs.add(new, actor=actor, reason=reason, max_open_jobs=self._max_open_jobs)
        self._wake()
        return job
