"""Messages as plain Python values in the JSON form that the server's REST side has: counts are numbers."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def to_dict(message: Message) -> dict[str, Any]:
    """A message of `blade.v1` as JSON values.

    Names in lowerCamelCase, enums by name, times as RFC 3339; zeros and empty lists are there, what is unset is not.
    64-bit integers are numbers, where protobuf's own JSON (`MessageToDict`, grpcurl, buf) has strings.
    """
    content: dict[str, Any] = MessageToDict(message, always_print_fields_with_no_presence=True)
    _make_numbers(content, message.DESCRIPTOR)
    return content


def _make_numbers(content: dict[str, Any], message: Any) -> None:
    for field in message.fields:
        value, nested = content.get(field.json_name), field.message_type
        if value is None:
            continue
        if field.type == FieldDescriptor.TYPE_INT64:
            content[field.json_name] = [int(one) for one in value] if field.is_repeated else int(value)
        elif nested is not None and nested.file.package == message.file.package and not nested.GetOptions().map_entry:
            for one in value if field.is_repeated else [value]:
                _make_numbers(one, nested)
