"""All that callers do with jobs, a verb each. Running them is the engine's business; the two meet in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from blade_server.core.audit.recorder import Recorder
from blade_server.core.jobs.control import ControlJobs
from blade_server.core.jobs.preview import PreviewItems
from blade_server.core.jobs.retry_failed import RetryFailedItems
from blade_server.core.jobs.show import ShowJobs
from blade_server.core.jobs.start import StartQueryJob
from blade_server.core.sources.sources import Sources
from blade_server.model.policy import JobPolicy
from blade_server.storage.database import Database
from blade_server.storage.destinations import DestinationStore
from blade_server.storage.jobs.control import JobControl
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Thread-safe; each call is one or a few short transactions. Raises what the storage and the sources raise."""

    start: StartQueryJob
    preview: PreviewItems
    retry_failed: RetryFailedItems
    show: ShowJobs
    control: ControlJobs

    @classmethod
    def over(
        cls,
        policy: JobPolicy,
        database: Database,
        store: JobStore,
        sources: Sources,
        *,
        recorder: Recorder,
        wake: Callable[[], None],
    ) -> Self:
        """`wake` is called whenever a job is stored."""
        new_jobs = NewJobs(database, max_open=policy.max_open_jobs, max_own=policy.max_own_jobs)
        return cls(
            start=StartQueryJob(policy, sources, DestinationStore(database), new_jobs, wake),
            preview=PreviewItems(policy.direct, sources, recorder),
            retry_failed=RetryFailedItems(policy, sources, store, new_jobs, wake),
            show=ShowJobs(store, recorder, policy.direct.source.classifications),
            control=ControlJobs(JobControl(database), lease_s=policy.lease_s),
        )
