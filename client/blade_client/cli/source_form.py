"""A source as people write it, as a JSON file or as options, and which of its fields they set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import reduce
from typing import IO, Any

import click
from google.protobuf.json_format import ParseDict, ParseError

from blade.v1.source_pb2 import Source

# What the server fills in, and what identifies the source instead of changing it.
_NOT_UPDATED = {"name", "etag", "stats", "create_time", "update_time"}
_NESTED = {"config", "mapping"}
_FIELDS = {
    "display_name": "display_name",
    "data_type": "data_type",
    "enabled": "enabled",
    "catalog": "config.catalog",
    "schema": "config.schema",
    "table": "config.table",
    "warehouse_id": "config.warehouse_id",
    "host": "config.host",
    "credentials": "config.credentials",
    "items_per_second": "config.items_per_second",
    "max_running_jobs": "config.max_running_jobs",
    "destination": "config.destination",
    "item_id": "mapping.item_id",
    "last_modified": "mapping.last_modified",
    "classification": "mapping.classification.value",
    "classification_column": "mapping.classification.column",
    "min_classification": "mapping.min_classification",
}
"""Option -> field of a source. `--table` gives three of them, `--mask` a list, `--metadata` a map."""


def read_source(file: IO[str] | None) -> tuple[Source, list[str]]:
    """Reads a source in protobuf's JSON form (`warehouse_id` and `warehouseId` both do).

    Returns:
        The source, and the paths of the fields that the file sets, as an update mask wants them.

    Raises:
        click.UsageError: It is not UTF-8, not a JSON object, or not a source.
    """
    if file is None:
        return Source(), []
    try:
        written = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as wrong:
        raise click.UsageError(f"{file.name} is not JSON in UTF-8: {wrong}") from wrong
    if not isinstance(written, dict):
        raise click.UsageError(f"{file.name} holds no JSON object.")
    try:
        source = ParseDict(written, Source())
    except ParseError as wrong:
        first_line = str(wrong).splitlines()[0]
        raise click.UsageError(f"{file.name} is not a source: {first_line}") from wrong
    return source, list(_paths(written, Source.DESCRIPTOR))


def _paths(written: Mapping[str, Any], kind: Any, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in written.items():
        field = next(each for each in kind.fields if key in (each.name, each.json_name))
        path = prefix + field.name
        if path in _NESTED and isinstance(value, dict):
            found += _paths(value, field.message_type, f"{path}.")
        elif path not in _NOT_UPDATED:
            found.append(path)
    return found


def set_fields(source: Source, fields: Mapping[str, Any]) -> list[str]:
    """Sets what the options of `source_fields` say. Returns the paths of the fields set."""
    given = {name: value for name, value in fields.items() if value is not None and value != ()}
    if "classification" in given and "classification_column" in given:
        raise click.UsageError("Give --classification or --classification-column, not both.")
    if "table" in given:
        given |= dict(zip(("catalog", "schema", "table"), split_table(given["table"]), strict=True))
    paths = []
    for option, path in _FIELDS.items():
        if option in given:
            *parents, name = path.split(".")
            setattr(reduce(getattr, parents, source), name, given[option])
            # Value and column are two ways to say one thing, which is updated as one.
            paths.append("mapping.classification" if parents[-1:] == ["classification"] else path)
    if "mask" in given:
        source.mapping.masked_columns[:] = [column for column in given["mask"] if column]
        paths.append("mapping.masked_columns")
    if "metadata" in given:
        source.mapping.metadata.clear()
        source.mapping.metadata.update(dict(given["metadata"]))
        paths.append("mapping.metadata")
    return paths


def split_table(name: str) -> list[str]:
    """The three parts of `catalog.schema.table`; backquotes around a part keep its dots, doubled ones stand for one."""
    part = r"(?:`((?:[^`]|``)+)`|([^.`]+))"
    found = re.fullmatch(rf"{part}\.{part}\.{part}", name)
    if found is None:
        raise click.UsageError(f"--table {name!r} is not of the form catalog.schema.table.")
    groups = found.groups()
    return [plain or quoted.replace("``", "`") for quoted, plain in zip(groups[::2], groups[1::2], strict=True)]
