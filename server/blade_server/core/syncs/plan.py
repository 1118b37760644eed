"""Find out what a run of a sync would do."""

from __future__ import annotations

from blade_server.core.syncs.sync_jobs import Asked, SyncJobs
from blade_server.model import Job, JobKind


class PlanSync:
    """Thread-safe."""

    def __init__(self, jobs: SyncJobs) -> None:
        self._jobs = jobs

    def __call__(self, name: str, asked: Asked, *, whole: bool = False) -> Job:
        """Stores a job that writes nothing to the destination; `whole` as of a run. Raises as SyncJobs.start."""
        return self._jobs.start(name, JobKind.PLAN, asked, whole=whole)
