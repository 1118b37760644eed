"""What a source may look like, before anybody asks the warehouse: patterns, lengths, defaults."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from blade_server.core.transform.item_ids import ROW_HASH, Template, TemplateError
from blade_server.errors import Invalid, Violation
from blade_server.model import Classification, RowMapping, Source, SourceConfig

MAX_PAIRS = 32
MAX_PAIR_CHARACTERS = 200
MAX_NAME_CHARACTERS = 255
MAX_DISPLAY_NAME_CHARACTERS = 200
MAX_TEMPLATE_CHARACTERS = 2000
MAX_RUNNING_JOBS = 2**31 - 1
MAX_MASKED_COLUMNS = 1000

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
DATA_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def with_defaults(source: Source) -> Source:
    """The source with the defaults that need no look at its table."""
    mapping = source.mapping
    classification = mapping.classification
    if not (classification.column or classification.value):
        classification = Classification(column="classification")
    return replace(
        source,
        display_name=source.display_name or source.name,
        mapping=replace(mapping, item_id=mapping.item_id or "item_id", classification=classification),
    )


def check(source: Source, *, known_classifications: Sequence[str]) -> None:
    """Pass a source whose every field is well formed.

    Raises:
        Invalid: naming all fields that are not.
    """
    violations = [
        Violation(field=f"source.{field}", description=description)
        for field, description in (
            *_identity(source),
            *_config(source.config),
            *_mapping(source.mapping, known_classifications),
        )
    ]
    if violations:
        raise Invalid(violations)


def check_pairs(field: str, pairs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with metadata pairs, as (field, description)."""
    if len(pairs) > MAX_PAIRS:
        yield field, f"has {len(pairs)} pairs; at most {MAX_PAIRS} are allowed"
    for key, value in pairs.items():
        if not key.strip():
            yield field, "has a pair without a key"
        for text in (key, value):
            if len(text) > MAX_PAIR_CHARACTERS or _CONTROL.search(text):
                yield field, f"{text[:40]!r} has more than {MAX_PAIR_CHARACTERS} or control characters"


def check_item_id(field: str, template: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a template of item ids."""
    if len(template) > MAX_TEMPLATE_CHARACTERS or _CONTROL.search(template):
        yield field, f"has more than {MAX_TEMPLATE_CHARACTERS} or control characters"
        return
    try:
        Template.parse(template)
    except TemplateError as exc:
        yield field, str(exc)


def check_column(field: str, name: str | None) -> Iterator[tuple[str, str]]:
    """What is wrong with the name of a column, or none."""
    if name and (len(name) > MAX_NAME_CHARACTERS or _CONTROL.search(name)):
        yield field, f"has more than {MAX_NAME_CHARACTERS} or control characters"


def _identity(source: Source) -> Iterator[tuple[str, str]]:
    if not NAME.fullmatch(source.name):
        yield (
            "name",
            f"{source.name[:80]!r} is not 1 to 63 lower-case letters, digits and hyphens, beginning with a letter",
        )
    if not DATA_TYPE.fullmatch(source.data_type):
        yield (
            "data_type",
            f"{source.data_type[:80]!r} is not 1 to 63 lower-case letters, digits, - and _, beginning with a letter",
        )
    if len(source.display_name) > MAX_DISPLAY_NAME_CHARACTERS or _CONTROL.search(source.display_name):
        yield "display_name", f"has more than {MAX_DISPLAY_NAME_CHARACTERS} or control characters"


def _config(config: SourceConfig) -> Iterator[tuple[str, str]]:
    for field in ("catalog", "schema", "table"):
        name = getattr(config, field)
        if not name.strip():
            yield f"config.{field}", "is required"
        elif len(name) > MAX_NAME_CHARACTERS or _CONTROL.search(name):
            yield f"config.{field}", f"{name[:80]!r} has more than {MAX_NAME_CHARACTERS} or control characters"
    for field in ("host", "credentials", "warehouse_id"):
        if len(getattr(config, field)) > 1000 or _CONTROL.search(getattr(config, field)):
            yield f"config.{field}", "has more than 1000 or control characters"
    if not NAME.fullmatch(config.destination):
        yield "config.destination", f"{config.destination[:80]!r} is no name of a destination"
    if not (math.isfinite(config.items_per_second) and config.items_per_second >= 0):
        yield "config.items_per_second", f"{config.items_per_second:g} is not a number from 0 (no limit) up"
    if not 0 <= config.max_running_jobs <= MAX_RUNNING_JOBS:
        yield "config.max_running_jobs", f"{config.max_running_jobs} is not a number from 0 (no limit) up"


def _unknown_classification(field: str, value: str, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    if value and value not in known:
        yield field, f"{value[:80]!r} is not one of this server's BLADE_CLASSIFICATIONS: {', '.join(known)}"


def _mapping(mapping: RowMapping, known_classifications: Sequence[str]) -> Iterator[tuple[str, str]]:
    classification = mapping.classification
    yield from check_item_id("mapping.item_id", mapping.item_id)
    yield from check_column("mapping.last_modified", mapping.last_modified)
    yield from check_column("mapping.classification.column", classification.column)
    if classification.column and classification.value:
        yield "mapping.classification", "has a column and a value; it must be one of the two"
    else:
        yield from _unknown_classification("mapping.classification.value", classification.value, known_classifications)
    yield from _unknown_classification("mapping.min_classification", mapping.min_classification, known_classifications)
    yield from check_pairs("mapping.metadata", mapping.metadata)
    yield from _masked(mapping)


def _masked(mapping: RowMapping) -> Iterator[tuple[str, str]]:
    """What makes the item of a row is there for everybody who may read it, or ids would differ from one to another."""
    field, masked = "mapping.masked_columns", mapping.masked_columns
    if len(masked) > MAX_MASKED_COLUMNS:
        yield field, f"has {len(masked):,} entries; at most {MAX_MASKED_COLUMNS:,} are allowed"
        return
    needed = {
        **dict.fromkeys(_template_columns(mapping.item_id), "item_id"),
        mapping.last_modified or "": "last_modified",
        mapping.classification.column: "classification.column",
    }
    needs = {name.casefold(): user for name, user in needed.items()}
    for name in masked:
        user = needs.get(name.casefold())
        if not name.strip():
            yield field, "has an entry that is blank; name columns"
        elif user:
            yield field, f"{name[:80]!r} is needed by mapping.{user}; only columns that make no item can be masked"
        else:
            yield from check_column(field, name)
    if masked and ROW_HASH in mapping.item_id:
        yield field, f"mapping.item_id has {ROW_HASH}, which needs every column; mask none, or choose other ids"
    if len({name.casefold() for name in masked}) < len(masked):
        yield field, "has a column more than once; names have no case"


def _template_columns(text: str) -> Sequence[str]:
    try:
        return Template.parse(text).columns
    except TemplateError:  # which is said of the template itself
        return ()
