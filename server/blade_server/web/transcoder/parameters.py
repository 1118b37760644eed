"""Query parameters and path fields as the JSON object that stands for the same request.

- `pageSize=10` is a field, in either spelling (`page_size`),
- `statuses=RUNNING&statuses=PAUSED` a repeated field, once for each element,
- `source.config.table=x` a field of a field,
- `parameters[p]=HIGH` an entry of a map.

Times, durations (`1.5s`), field masks (`displayName,config.table`) and enums are written as in JSON, without quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from blade_server.web.transcoder.problem import Problem

_ENTRY = re.compile(r"(?P<path>[^\[\]]+)\[(?P<key>.*)\]")
_BOOLEANS = {"true": True, "false": False}
_MAX_PARAMETERS = 1000
SCALAR_MESSAGES = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Timestamp", "Duration", "FieldMask", "BoolValue", "StringValue", "BytesValue"),
        *("DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value"),
    )
)
"""Messages that are one string, number or boolean in JSON."""


def pairs(query_string: bytes) -> list[tuple[str, str]]:
    """The parameters in their order. Raises Problem 400 if they are not UTF-8 or too many."""
    try:
        return parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
        )
    except UnicodeDecodeError as exc:
        raise Problem.invalid("query", "is not UTF-8, percent-encoded") from exc
    except ValueError as exc:
        raise Problem.invalid("query", f"has more than {_MAX_PARAMETERS} parameters") from exc


def add_all(target: dict[str, Any], message: Descriptor, parameters: Iterable[tuple[str, str]]) -> None:
    """Writes the parameters into `target`, under the names of the contract.

    Raises Problem 400 naming the parameter that is unknown, not a value, or given twice.
    """
    for name, value in parameters:
        entry = _ENTRY.fullmatch(name)
        owner, field = _resolve(target, message, name, entry["path"] if entry else name)
        if is_map(field):
            if entry is None:
                raise Problem.invalid(name, f"is a map: write {name}[key]=value")
            entries = owner.setdefault(field.name, {})
            if entry["key"] in entries:
                raise Problem.invalid(name, "is given twice")
            entries[entry["key"]] = _value(name, nested(field).fields_by_name["value"], value)
        elif entry is not None:
            raise Problem.invalid(name, f"is not a map: write {entry['path']}=value")
        elif field.is_repeated:
            owner.setdefault(field.name, []).append(_value(name, field, value))
        elif field.name in owner:
            raise Problem.invalid(name, "is given twice")
        else:
            owner[field.name] = _value(name, field, value)


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def nested(field: FieldDescriptor) -> Descriptor:
    """The message that the field's elements are; for fields that are known to be messages."""
    assert field.message_type is not None, f"{field.full_name} is no message"
    return field.message_type


def field_of(message: Descriptor, name: str) -> FieldDescriptor | None:
    """The field of that name, in either spelling."""
    return message.fields_by_name.get(name) or message.fields_by_camelcase_name.get(name)


def _resolve(
    target: dict[str, Any], message: Descriptor, name: str, path: str
) -> tuple[dict[str, Any], FieldDescriptor]:
    """The object that has the last step of the path, and its field."""
    *steps, last = path.split(".")
    for step in steps:
        field = field_of(message, step)
        if field is None or field.message_type is None or field.is_repeated or is_scalar(field):
            raise Problem.invalid(name, "is no field of this call")
        target = target.setdefault(field.name, {})
        message = field.message_type
    field = field_of(message, last)
    if field is None:
        raise Problem.invalid(name, f"is no field of this call{meant(last, message)}")
    return target, field


def meant(name: str, message: Descriptor) -> str:
    """What to add to the message that a field is unknown."""
    return like(name, [field.name if "_" in name else field.camelcase_name for field in message.fields])


def like(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...?` if a name is nearly one of these, else nothing."""
    found = get_close_matches(name, names, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def is_scalar(field: FieldDescriptor) -> bool:
    """Whether one element of the field is a single value in JSON."""
    return field.message_type is None or field.message_type.full_name in SCALAR_MESSAGES


def _value(name: str, field: FieldDescriptor, text: str) -> Any:
    if not is_scalar(field):
        raise Problem.invalid(name, f"is an object: write {name}.field=value")
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in _BOOLEANS:
            raise Problem.invalid(name, f"must be true or false, not {text[:100]!r}")
        return _BOOLEANS[text]
    return text
