"""One factory for each noun of the service."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from blade_server.model import Classification, Job, JobSpec, RowMapping, Source, SourceConfig, Status

JOB_ID = "job-0123456789abcdefghij"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_source(**changes: Any) -> Source:
    """A source over main.blade.parts."""
    fields: dict[str, Any] = {
        "name": "parts",
        "display_name": "Parts",
        "data_type": "maintenance",
        "enabled": True,
        "config": SourceConfig(catalog="main", schema="blade", table="parts"),
        "mapping": RowMapping(item_id="P-{id}", classification=Classification(value="UNCLASS")),
    }
    return Source(**(fields | changes))


def a_spec(**changes: Any) -> JobSpec:
    """What was asked of a job over that source."""
    return JobSpec(**({"sql": "SELECT 1", "source": "parts", "data_type": "maintenance"} | changes))


def a_job(**changes: Any) -> Job:
    """A job over that source that runs and has done nothing yet."""
    fields: dict[str, Any] = {
        "job_id": JOB_ID,
        "status": Status.RUNNING,
        "spec": a_spec(),
        "source": a_source(),
        "create_time": NOW,
        "update_time": NOW,
        "revision": 1,
    }
    return Job(**(fields | changes))


FULL_SOURCE = Source(
    name="parts",
    display_name="Parts",
    data_type="maintenance",
    enabled=False,
    config=SourceConfig(
        catalog="main",
        schema="blade",
        table="parts",
        warehouse_id="abc",
        host="h",
        credentials="env:DATABRICKS_X",
        items_per_second=1.5,
        max_running_jobs=2,
    ),
    mapping=RowMapping(
        item_id="P-{id}",
        last_modified="changed",
        classification=Classification(column="level"),
        metadata={"fleet": "7"},
        min_classification="CUI",
        masked_columns=("pay", "notes"),
    ),
    etag="e1",
)
"""One in which every field says something."""
