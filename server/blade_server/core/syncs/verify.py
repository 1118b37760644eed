"""Compare a destination with the rows."""

from __future__ import annotations

from blade_server.core.syncs.sync_jobs import Asked, SyncJobs
from blade_server.model import Job, JobKind


class VerifySync:
    """Thread-safe."""

    def __init__(self, jobs: SyncJobs) -> None:
        self._jobs = jobs

    def __call__(self, name: str, asked: Asked, *, repair: bool = False) -> Job:
        """Stores a job that compares; with `repair` it sends what is missing or different, as the one that writes.

        Raises as SyncJobs.start.
        """
        return self._jobs.start(name, JobKind.VERIFY, asked, repair=repair)
