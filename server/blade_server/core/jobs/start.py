"""Start a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from blade_server.core.checks import raise_for
from blade_server.core.jobs.checks import (
    MAX_BATCH_SIZE,
    MAX_WORKERS,
    allowed,
    check_limits,
    check_overrides,
    check_range,
    check_request_id,
)
from blade_server.core.jobs.ids import fingerprint, new_job_id
from blade_server.core.jobs.level import level
from blade_server.core.jobs.statement import classified, resolve, seen
from blade_server.core.sources.rules import check_pairs
from blade_server.core.sources.sources import Sources
from blade_server.model import Job, JobLimits, JobSpec, NewJob, Overrides
from blade_server.model.access import Caller
from blade_server.model.destination import DEFAULT_DESTINATION
from blade_server.model.policy import JobPolicy
from blade_server.storage.destinations import DestinationStore
from blade_server.storage.jobs.new import NewJobs


@dataclass(frozen=True, kw_only=True)
class StartJob:
    """What a caller asks for; see blade.v1.StartQueryJobRequest. None stands for the default."""

    sql: str = ""
    data_type: str = ""
    source: str = ""
    batch_size: int | None = None
    workers: int | None = None
    items_per_second: float | None = None
    max_errors: int | None = None
    max_error_share: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)
    skip_existing: bool = False
    destination: str = ""
    request_id: str = ""


class StartQueryJob:
    """Stores jobs that run a query. Thread-safe."""

    def __init__(
        self,
        policy: JobPolicy,
        sources: Sources,
        destinations: DestinationStore,
        new_jobs: NewJobs,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called whenever a job is stored."""
        self._policy = policy
        self._sources = sources
        self._destinations = destinations
        self._new_jobs = new_jobs
        self._wake = wake

    def __call__(self, request: StartJob, *, by: Caller) -> Job:
        """Checks the request and stores a PENDING job; a repeated one gives the job of the first call.

        Raises:
            Invalid: naming all wrong fields; the SQL is parsed here, not run.
            NotFound, Precondition: there is no such source or destination, or the source is switched off.
            QuotaExceeded: too many open jobs.
        """
        self._check(request)
        request_hash = fingerprint(_body(request))
        stored = self._new_jobs.replay(request.request_id, request_hash, by=by)
        if stored is not None:  # whatever became of the source since
            return allowed(stored, by)
        resolved = resolve(self._sources, request.sql, request.data_type, request.source, by=by)
        source = resolved.source
        order = self._policy.direct.source.classifications
        overrides = classified(request.overrides, resolved, order, by=by)
        destination = request.destination or source.config.destination
        spec = JobSpec(
            sql=resolved.sql,
            source=source.name,
            data_type=source.data_type,
            batch_size=request.batch_size or 100,
            workers=request.workers or self._policy.workers,
            limits=JobLimits(
                items_per_second=request.items_per_second or 0.0,
                max_errors=request.max_errors,
                max_error_share=request.max_error_share,
            ),
            metadata=dict(request.metadata),
            skip_existing=request.skip_existing,
            destination=destination,
            catalog_id=self._identity(destination),
            **seen(resolved, order),
            **asdict(overrides),
        )
        new = NewJob(
            job_id=new_job_id(),
            spec=spec,
            source=source,
            statement=resolved.statement,
            request_id=request.request_id,
            request_hash=request_hash,
            level=level(spec, source),
        )
        job = self._new_jobs.add(new, by=by)
        self._wake()
        return job

    def _identity(self, destination: str) -> str:
        return "" if destination == DEFAULT_DESTINATION else self._destinations.get(destination).identity

    def _check(self, request: StartJob) -> None:
        raise_for(
            [
                *check_limits(request.items_per_second, request.max_errors, request.max_error_share),
                *check_range("batch_size", request.batch_size, 1, MAX_BATCH_SIZE),
                *check_range("workers", request.workers, 1, MAX_WORKERS),
                *check_request_id(request.request_id),
                *check_pairs("metadata", request.metadata),
                *check_overrides(request.overrides, self._policy.direct.source.classifications),
            ]
        )


def _body(request: StartJob) -> dict[str, object]:
    """What makes two requests the same; for one that an older server knows all of, the same as there."""
    body: dict[str, object] = {**asdict(request), "request_id": "", "classification": request.overrides.classification}
    del body["overrides"]
    if not request.destination:
        del body["destination"]
    return body | {
        name: value for name, value in asdict(request.overrides).items() if value != getattr(Overrides(), name)
    }
