"""A job on its way into the table."""

from __future__ import annotations

from dataclasses import dataclass

from blade_server.model.job import JobSpec
from blade_server.model.source import Source
from blade_server.model.sync import SyncTask


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job that is not stored yet and will run `statement`. The same `request_id` and `request_hash`: the same job.

    `task`: of a job of a sync. `level`: what a server must know to run it, see storage/engine/leases.py.
    """

    job_id: str
    spec: JobSpec
    source: Source
    statement: str
    request_id: str = ""
    request_hash: str = ""
    parent_job_id: str = ""
    level: int = 0
    task: SyncTask | None = None
