"""JSON schemas of messages and enums, in the form the transcoder gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from blade_server.web.openapi.bounds import BOUNDS
from blade_server.web.transcoder.parameters import is_map, nested

Schema = dict[str, Any]

_INT32 = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
_INT64 = {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1}
_NUMBER = {"type": "number", "format": "double"}
_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: _NUMBER,
    FieldDescriptor.TYPE_FLOAT: _NUMBER,
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
}
_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$",
        "examples": ["1.5s"],
    },
    "google.protobuf.FieldMask": {"type": "string", "examples": ["displayName,config.table"]},
    "google.protobuf.Struct": {"type": "object"},
}


class Schemas:
    """Makes schemas, and keeps those that others refer to in `components`."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments

    def message(self, message: Descriptor) -> Schema:
        """A reference to the schema of a message."""
        name = _name(message)
        if name not in self.components:
            self.components[name] = {}  # holds the place, for messages that contain themselves
            self.components[name] = self.fields(message, message.fields) | self._description(message.full_name)
        return {"$ref": f"#/components/schemas/{name}"}

    def fields(self, message: Descriptor, fields: Any) -> Schema:
        """An object with these fields of the message and no others."""
        properties = {field.camelcase_name: self.field(field) for field in fields}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        exclusive = [one for one in message.oneofs if len(one.fields) > 1]
        if exclusive:
            names = ", ".join(f"`{field.camelcase_name}`" for field in exclusive[0].fields)
            schema["description"] = f"At most one of {names}."
            schema["maxProperties"] = len(message.fields) - sum(len(one.fields) - 1 for one in exclusive)
        return schema

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field, with its comment."""
        if is_map(field):
            value = nested(field).fields_by_name["value"]
            schema: Schema = {"type": "object", "additionalProperties": self.element(value)}
        elif field.is_repeated:
            schema = {"type": "array", "items": self.element(field)}
        else:
            schema = dict(self.element(field))
        return schema | bounds_of(field) | self._description(field.full_name)

    def element(self, field: FieldDescriptor) -> Schema:
        """The schema of one element of a field."""
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is None:
            return _SCALARS[field.type]
        return _WELL_KNOWN.get(field.message_type.full_name) or self.message(field.message_type)

    def _enum(self, enum: EnumDescriptor) -> Schema:
        name = _name(enum)
        values = [value.name for value in enum.values]
        lines = [f"- `{value}`: {self._comments.get(f'{enum.full_name}.{value}', '')}" for value in values]
        description = "\n".join([self._comments.get(enum.full_name, ""), "", *lines])
        self.components[name] = {"type": "string", "enum": values, "description": description}
        return {"$ref": f"#/components/schemas/{name}"}

    def _description(self, full_name: str) -> Schema:
        text = self._comments.get(full_name)
        return {"description": text} if text else {}


def bounds_of(field: FieldDescriptor) -> Schema:
    """What the service checks of a field."""
    assert field.containing_type is not None
    return dict(BOUNDS.get(f"{_name(field.containing_type)}.{field.name}", {}))


def _name(described: Descriptor | EnumDescriptor) -> str:
    return str(described.full_name.removeprefix(described.file.package + "."))
