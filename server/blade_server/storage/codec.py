"""The JSON documents inside the tables: sources, mappings and job specs, to and from the model.

Fields that this version does not know are passed over: while replicas are upgraded one by one, the old ones read what
the new ones wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from blade_server.model import Classification, JobLimits, JobSpec, RowMapping, Source, SourceConfig

Document = Mapping[str, Any]

_KNOWN: dict[type, frozenset[str]] = {
    kind: frozenset(field.name for field in fields(kind))
    for kind in (Classification, JobLimits, JobSpec, RowMapping, Source, SourceConfig)
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
