"""The JSON schema of documents, made from the contract."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from blade_client.as_code.fields import is_duration, is_map
from blade_client.as_code.kinds import KINDS, Kind

_NAME = "^[a-z][a-z0-9-]{0,62}$"
_SPAN = "^([0-9]+([.][0-9]+)?[smhd])+$"
_REFERENCE = "^(env|file):\\S+$"
_SIMPLE = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "boolean",
    FieldDescriptor.TYPE_INT32: "integer",
    FieldDescriptor.TYPE_INT64: "integer",
    FieldDescriptor.TYPE_DOUBLE: "number",
}


def schema() -> dict[str, Any]:
    """A JSON schema (2020-12) of one document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document of `blade apply`",
        "oneOf": [_document(kind) for kind in KINDS.values()],
    }


def _document(kind: Kind) -> dict[str, Any]:
    spec = _message(kind.spec.DESCRIPTOR, "", kind)
    spec["required"] = [kind.spec.DESCRIPTOR.fields_by_name[name].json_name for name in kind.required]
    return {
        "title": kind.name,
        "type": "object",
        "properties": {
            "kind": {"const": kind.name},
            "name": {"type": "string", "pattern": _NAME},
            "spec": spec,
        },
        "required": ["kind", "name", "spec"],
        "additionalProperties": False,
    }


def _message(message: Any, prefix: str, kind: Kind) -> dict[str, Any]:
    fields = [field for field in message.fields if prefix + field.name not in kind.hidden]
    return {
        "type": "object",
        "properties": {field.json_name: _field(field, prefix + field.name, kind) for field in fields},
        "additionalProperties": False,
    }


def _field(field: FieldDescriptor, path: str, kind: Kind) -> dict[str, Any]:
    if is_map(field):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if is_duration(field):
        return {"type": "string", "pattern": _SPAN}
    if field.message_type is not None:
        return _message(field.message_type, f"{path}.", kind)
    one = _one(field, path, kind)
    return {"type": "array", "items": one} if field.is_repeated else one


def _one(field: FieldDescriptor, path: str, kind: Kind) -> dict[str, Any]:
    if field.enum_type is not None:
        return {"enum": [value.name for value in field.enum_type.values if value.number]}
    plain: dict[str, Any] = {"type": _SIMPLE[field.type]}
    return plain | ({"pattern": _REFERENCE} if path in kind.references else {})
