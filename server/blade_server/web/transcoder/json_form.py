"""Messages as JSON values: protobuf's form, but 64-bit integers are numbers, as in the customer's progress."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def to_dict(message: Message) -> dict[str, Any]:
    """Names in lowerCamelCase, enums by name; what is 0 or empty is written as well, what is unset is not."""
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
