"""The JSON documents inside the tables: sources, mappings and job specs, to and from the model.

Fields that this version does not know are passed over: while replicas are upgraded one by one, the old ones read what
the new ones wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from blade_server.model import Classification, JobKind, JobLimits, JobSpec, RowMapping, Source, SourceConfig
from blade_server.model.sync import (
    CatchUp,
    Cursor,
    Deletes,
    Guards,
    NullCursor,
    Overlap,
    Schedule,
    SyncOwner,
    SyncRetry,
    SyncSpec,
    SyncTask,
)
from blade_server.model.sync_report import SyncCounts, SyncMode, SyncReport, Withheld

Document = Mapping[str, Any]

_KNOWN: dict[type, frozenset[str]] = {
    kind: frozenset(field.name for field in fields(kind))
    for kind in (
        Classification,
        Cursor,
        Guards,
        JobLimits,
        JobSpec,
        RowMapping,
        Schedule,
        Source,
        SourceConfig,
        SyncCounts,
        SyncOwner,
        SyncReport,
        SyncRetry,
        SyncSpec,
        SyncTask,
    )
}


def _known(kind: type, document: Document) -> Document:
    names = _KNOWN[kind]
    return document if document.keys() <= names else {name: document[name] for name in document.keys() & names}


def config_from(document: Document) -> SourceConfig:
    """The config of a source."""
    return SourceConfig(**_known(SourceConfig, document))


def mapping_from(document: Document) -> RowMapping:
    """The mapping of a source."""
    classification = Classification(**_known(Classification, document["classification"]))
    masked = tuple(document.get("masked_columns", ()))
    return RowMapping(**{**_known(RowMapping, document), "classification": classification, "masked_columns": masked})


def source_document(source: Source) -> dict[str, Any]:
    """The part of a source that a job keeps: what it is, not what happened to it."""
    return {
        "name": source.name,
        "display_name": source.display_name,
        "data_type": source.data_type,
        "enabled": source.enabled,
        "config": asdict(source.config),
        "mapping": asdict(source.mapping),
    }


def source_from(document: Document) -> Source:
    """The source a job began with."""
    return Source(
        **{
            **_known(Source, document),
            "config": config_from(document["config"]),
            "mapping": mapping_from(document["mapping"]),
        }
    )


def spec_document(spec: JobSpec) -> dict[str, Any]:
    """A job's spec."""
    return asdict(spec)


def spec_from(document: Document) -> JobSpec:
    """A job's spec."""
    masked = tuple(document.get("masked_columns", ()))
    return JobSpec(**{**_known(JobSpec, document), "limits": limits_from(document["limits"]), "masked_columns": masked})


def limits_from(document: Document) -> JobLimits:
    """A job's limits."""
    return JobLimits(**_known(JobLimits, document))


def sync_spec_document(spec: SyncSpec) -> dict[str, Any]:
    """What a sync is asked for."""
    return asdict(spec)


def sync_spec_from(document: Document) -> SyncSpec:
    """What a sync is asked for."""
    cursor, schedule = document.get("cursor"), document.get("schedule")
    return SyncSpec(
        **{
            **_known(SyncSpec, document),
            "mode": SyncMode(document["mode"]),
            "deletes": Deletes(document["deletes"]),
            "cursor": cursor and _cursor_from(cursor),
            "schedule": schedule and _schedule_from(schedule),
            "guards": Guards(**_known(Guards, document["guards"])),
            "limits": limits_from(document["limits"]),
            "retry": SyncRetry(**_known(SyncRetry, document["retry"])),
            "notifications": tuple(document["notifications"]),
        }
    )


def cursor_column(spec: Document) -> str:
    """The column that a stored spec of a sync follows; empty: none."""
    return str((spec.get("cursor") or {}).get("column", ""))


def _cursor_from(document: Document) -> Cursor:
    return Cursor(**{**_known(Cursor, document), "null_cursor": NullCursor(document["null_cursor"])})


def _schedule_from(document: Document) -> Schedule:
    choices = {"overlap": Overlap(document["overlap"]), "catch_up": CatchUp(document["catch_up"])}
    return Schedule(**{**_known(Schedule, document), **choices})


def owner_document(owner: SyncOwner) -> dict[str, Any]:
    """Whose rights a sync has."""
    return asdict(owner)


def owner_from(document: Document) -> SyncOwner:
    """Whose rights a sync has."""
    return SyncOwner(**{**_known(SyncOwner, document), "groups": tuple(document["groups"])})


def task_document(task: SyncTask) -> dict[str, Any]:
    """What a job of a sync has to do."""
    return asdict(task)


def task_from(document: Document) -> SyncTask:
    """What a job of a sync has to do."""
    return SyncTask(
        **{
            **_known(SyncTask, document),
            "kind": JobKind(document["kind"]),
            "spec": sync_spec_from(document["spec"]),
        }
    )


def counts_document(counts: SyncCounts) -> dict[str, Any]:
    """What runs did."""
    return asdict(counts)


def counts_from(document: Document) -> SyncCounts:
    """What runs did; what is not there is 0."""
    return SyncCounts(**_known(SyncCounts, document))


def report_document(report: SyncReport) -> dict[str, Any]:
    """What a run found."""
    return asdict(report)


def report_from(document: Document) -> SyncReport:
    """What a run found."""
    withheld = document.get("withheld_reason")
    return SyncReport(
        **{
            **_known(SyncReport, document),
            "mode": SyncMode(document["mode"]),
            "counts": counts_from(document["counts"]),
            "withheld_reason": Withheld(withheld) if withheld else None,
            "warnings": tuple(document["warnings"]),
        }
    )
