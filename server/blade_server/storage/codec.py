"""The JSON documents inside the tables: sources, mappings and job specs, to and from the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from blade_server.model import Classification, JobLimits, JobSpec, RowMapping, Source, SourceConfig

Document = Mapping[str, Any]


def config_from(document: Document) -> SourceConfig:
    """The config of a source."""
    return SourceConfig(**document)


def mapping_from(document: Document) -> RowMapping:
    """The mapping of a source."""
    return RowMapping(**{**document, "classification": Classification(**document["classification"])})


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
        **{**document, "config": config_from(document["config"]), "mapping": mapping_from(document["mapping"])}
    )


def spec_document(spec: JobSpec) -> dict[str, Any]:
    """A job's spec."""
    return asdict(spec)


def spec_from(document: Document) -> JobSpec:
    """A job's spec."""
    return JobSpec(**{**document, "limits": JobLimits(**document["limits"])})
