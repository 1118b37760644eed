"""What lineage is told of a job: its start, once, and its end. It is of tables and catalogs, never of rows or SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from blade_server.core import sql
from blade_server.core.engine.run import Run
from blade_server.errors import BladeError, Reason
from blade_server.lineage import Dataset, RunEvent, RunState
from blade_server.model import Claim, JobKind, Status

_ENDS = {Status.COMPLETED: RunState.COMPLETE, Status.FAILED: RunState.FAIL, Status.CANCELLED: RunState.ABORT}


class RunEvents:
    """Of one claim; belongs to the job's thread. Nothing here waits or fails."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._begun = run.claim.epoch > 1  # by the server that had it before

    def begin(self) -> None:
        """It starts, unless that is told already; once its destination is open."""
        if not self._begun:
            self._begun = True
            self._tell(RunState.START)

    def end(self, status: Status, error: Reason | None) -> None:
        """It has ended so."""
        self.begin()
        self._tell(_ENDS[status], error="" if error is None else error.value, ended=True)

    def _tell(self, state: RunState, *, error: str = "", ended: bool = False) -> None:
        run = self._run
        make = partial(
            _event,
            run.claim,
            state,
            time=datetime.now(UTC),
            error=error,
            outputs=_outputs(run, ended=ended),
            warehouse=run.claim.job.source.config.host or run.tools.policy.source.warehouse.host,
            version=run.query.version,
        )
        run.tools.lineage.tell(make)


def _event(
    claim: Claim,
    state: RunState,
    *,
    time: datetime,
    error: str,
    outputs: Sequence[Dataset],
    warehouse: str,
    version: int | None,
) -> RunEvent:
    job = claim.job
    name = f"sync.{job.sync}" if job.sync else f"source.{job.source.name}"
    if claim.task is not None and not claim.task.writes:  # else the sync's own output would come and go
        name += f".{job.kind.lower()}"
    return RunEvent(
        state=state,
        job_name=name,
        job_id=job.job_id,
        kind=job.kind.value,
        create_time=job.create_time,
        time=time,
        inputs=_inputs(claim, warehouse, version),
        outputs=outputs,
        error=error,
    )


def _inputs(claim: Claim, warehouse: str, version: int | None) -> list[Dataset]:
    config = claim.job.source.config
    own = f"{config.catalog}.{config.schema}.{config.table}"
    try:
        names = sql.names_of_tables(claim.plan.statement)
    except BladeError:  # it is long, and other SQL is being read
        names = []
    namespace = f"databricks://{_place(warehouse)}"
    versions = {own.casefold(): "" if version is None else str(version)}
    return [
        Dataset(namespace=namespace, name=name, version=versions.get(name.casefold(), "")) for name in names or [own]
    ]


def _outputs(run: Run, *, ended: bool) -> list[Dataset]:
    task, job = run.claim.task, run.claim.job
    url = run.catalog_url
    if not url or (task is not None and not task.writes):
        return []
    rows = run.progress.success if ended and job.kind is not JobKind.DELETE else None
    return [Dataset(namespace=_origin(url), name=job.source.data_source, rows=rows)]


def _place(host: str) -> str:
    """Host and port of an address that may have a scheme, without a user."""
    parts = urlsplit(host if "://" in host else f"https://{host}")
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or host


def _origin(url: str) -> str:
    return f"{urlsplit(url).scheme}://{_place(url)}"
