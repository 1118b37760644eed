"""Sources and the steps of their connection test."""

from __future__ import annotations

from blade.v1 import source_pb2
from blade_server import model
from blade_server.model.destination import DEFAULT_DESTINATION
from blade_server.rpc.convert.fields import numbers_of, optional

STEP_KINDS = numbers_of(model.StepKind, source_pb2.TestStep.Kind)
STEP_OUTCOMES = numbers_of(model.StepOutcome, source_pb2.TestStep.Outcome)


def source_from(source: source_pb2.Source) -> model.Source:
    """What the caller sent; the output-only fields are left behind."""
    config, mapping = source.config, source.mapping
    return model.Source(
        name=source.name,
        display_name=source.display_name,
        data_type=source.data_type,
        enabled=source.enabled if source.HasField("enabled") else True,
        config=model.SourceConfig(
            catalog=config.catalog,
            schema=config.schema,
            table=config.table,
            warehouse_id=config.warehouse_id,
            host=config.host,
            credentials=config.credentials,
            items_per_second=config.items_per_second,
            max_running_jobs=config.max_running_jobs,
            destination=config.destination or DEFAULT_DESTINATION,
        ),
        mapping=model.RowMapping(
            item_id=mapping.item_id,
            last_modified=optional(mapping, "last_modified"),
            classification=model.Classification(
                column=mapping.classification.column, value=mapping.classification.value
            ),
            metadata=dict(mapping.metadata),
            min_classification=mapping.min_classification,
            masked_columns=tuple(mapping.masked_columns),
        ),
        etag=source.etag,
    )


def source_message(source: model.Source) -> source_pb2.Source:
    """A source as stored."""
    config, mapping, stats = source.config, source.mapping, source.stats
    return source_pb2.Source(
        name=source.name,
        display_name=source.display_name,
        data_type=source.data_type,
        enabled=source.enabled,
        config=source_pb2.SourceConfig(
            catalog=config.catalog,
            schema=config.schema,
            table=config.table,
            warehouse_id=config.warehouse_id,
            host=config.host,
            credentials=config.credentials,
            items_per_second=config.items_per_second,
            max_running_jobs=config.max_running_jobs,
            destination=config.destination,
        ),
        mapping=source_pb2.Mapping(
            item_id=mapping.item_id,
            last_modified=mapping.last_modified,
            classification=_classification(mapping.classification),
            metadata=mapping.metadata,
            min_classification=mapping.min_classification,
            masked_columns=mapping.masked_columns,
        ),
        stats=source_pb2.SourceStats(
            item_count=stats.item_count,
            last_job_id=stats.last_job_id,
            last_success_time=stats.last_success_time,
        ),
        create_time=source.create_time,
        update_time=source.update_time,
        etag=source.etag,
    )


def _classification(classification: model.Classification) -> source_pb2.Classification:
    if classification.column:
        return source_pb2.Classification(column=classification.column)
    return source_pb2.Classification(value=classification.value)


def step_message(step: model.TestStep) -> source_pb2.TestStep:
    """One step of a connection test."""
    return source_pb2.TestStep(
        kind=STEP_KINDS[step.kind],
        outcome=STEP_OUTCOMES[step.outcome],
        message=step.message,
        duration_ms=step.duration_ms,
    )


def id_count_message(count: model.ItemIdCount | None) -> source_pb2.ItemIdCount | None:
    """How well item ids tell rows apart, if it was asked."""
    if count is None:
        return None
    return source_pb2.ItemIdCount(
        row_count=count.rows,
        missing_count=count.missing,
        duplicate_count=count.duplicates,
        message=count.message,
    )


def set_fields(source: source_pb2.Source) -> set[str]:
    """The paths of all fields that are set in an update and can be updated: what an absent mask stands for."""
    paths = set()
    for field, value in source.ListFields():
        if field.name in ("config", "mapping"):
            paths |= {f"{field.name}.{inner.name}" for inner, _ in value.ListFields()}
        elif field.name in ("display_name", "data_type", "enabled"):
            paths.add(field.name)
    return paths
