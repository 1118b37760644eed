"""Run a sync now."""

from __future__ import annotations

from blade_server.core.syncs.sync_jobs import Asked, SyncJobs
from blade_server.model import Job, JobKind


class RunSync:
    """Thread-safe."""

    def __init__(self, jobs: SyncJobs) -> None:
        self._jobs = jobs

    def __call__(self, name: str, asked: Asked, *, whole: bool = False) -> Job:
        """Stores the job of a run; `whole`: it reads all rows, whatever the mode. Raises as SyncJobs.start."""
        return self._jobs.start(name, JobKind.SYNC, asked, whole=whole)
