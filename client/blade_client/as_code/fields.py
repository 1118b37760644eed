"""Messages as flat fields, `guards.max_deletes` and its value, which can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

DURATION = "google.protobuf.Duration"


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map of the contract, which is of text to text."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_duration(field: FieldDescriptor) -> bool:
    """Whether the field is a span of time."""
    return field.message_type is not None and field.message_type.full_name == DURATION


def said(message: Message, hidden: frozenset[str]) -> dict[str, Any]:
    """The fields that are set, but for hidden ones, by their paths; enums by name, spans in seconds."""
    return dict(_said(message, "", hidden))


def _said(message: Message, prefix: str, hidden: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for field, value in message.ListFields():
        path = prefix + field.name
        if path in hidden:
            continue
        if is_map(field):
            yield path, dict(sorted(value.items()))
        elif is_duration(field):
            seconds = value.ToTimedelta().total_seconds()
            if seconds:  # a span of nothing means no more than none
                yield path, seconds
        elif field.message_type is not None:
            yield from _said(value, f"{path}.", hidden)
        elif field.is_repeated:
            yield path, [_plain(field, each) for each in value]
        else:
            yield path, _plain(field, value)


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is None:
        return value
    known = field.enum_type.values_by_number.get(value)
    return known.name if known is not None else value


def differences(
    wanted: Mapping[str, Any], stored: Mapping[str, Any], defaults: Mapping[str, Any], chosen: frozenset[str]
) -> dict[str, tuple[Any, Any]]:
    """The paths of fields that are not as wanted, each with the stored value and the wanted one; None: unset.

    Args:
        wanted: what a file says.
        stored: what the server has.
        defaults: what an unset field means.
        chosen: fields that stay as they are where the file does not say them.
    """
    found = {}
    # One way to say a thing takes the place of the other.
    classified = any(path.startswith("mapping.classification.") for path in wanted)
    for path in sorted({*wanted, *stored}):
        before = stored.get(path, defaults.get(path))
        after = wanted.get(path, defaults.get(path))
        kept = path not in wanted and path in chosen and not (classified and "classification" in path)
        if before != after and not kept:
            found[path] = (before, after)
    return found
