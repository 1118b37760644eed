"""An HTTP request as the message of its call: path, query and body put together, every unknown field refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf import descriptor_pool as pool
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from blade_server.web.transcoder import parameters
from blade_server.web.transcoder.problem import Problem
from blade_server.web.transcoder.rules import WHOLE, Rule

_CHAIN = re.compile(r"Failed to parse (\S+) field: ")
_PLACE = re.compile(r" at \w+\.([\w.\[\]]+?)\.*$")
_ENUM = re.compile(r"Invalid enum value (\S+) for enum type ([\w.]+)")
_MAX_VIOLATIONS = 20
MAX_VALUES = 20_000
"""Values in a body, at any depth. Making a message of them costs about 4 us each, in which nobody else is served."""


def message_of(rule: Rule, path_values: Mapping[str, str], query_string: bytes, body: bytes) -> Message:
    """The request message.

    Args:
        rule: what was asked for.
        path_values: field paths and their values, from the path.
        query_string: as received; feeds the fields that neither path nor body feed.
        body: as received, JSON; may be empty.

    Raises Problem 400 naming the field: malformed JSON, an unknown field, a wrong type, a field given twice.
    """
    request: dict[str, Any] = {}
    content = _json(body)
    if rule.body == WHOLE:
        request = _object(content, rule.method.input_type, "")
    elif rule.body_field is not None:
        if content is not None:
            request[rule.body] = _value(content, rule.body_field, rule.body)
    elif content not in (None, {}):
        raise Problem.invalid("body", f"{rule.verb} {rule.template.text} takes none; leave it out")
    _add_query(request, rule, query_string)
    for path, value in path_values.items():
        _bind(request, path, value)
    return _parsed(rule, request)


def _json(body: bytes) -> Any:
    if not body.strip():
        return None
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Problem.invalid("body", f"is not JSON: {exc}") from exc
    _count(content)
    return content


def _count(content: Any) -> None:
    """Raises Problem 400 if there are too many values, as soon as that is known."""
    left, waiting = MAX_VALUES, [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            left -= len(value)
            if left < 0:
                raise Problem.invalid("body", f"has more than {MAX_VALUES:,} values; send fewer")
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _object(content: Any, message: Descriptor, path: str) -> dict[str, Any]:
    """The object under the names of the contract. The reader of protobuf takes a list for an empty one."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise Problem.invalid(path or "body", f"must be an object, not {_kind(content)}")
    found: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for name, value in content.items():
        field = parameters.field_of(message, name)
        place = f"{path}.{name}" if path else name
        if field is None:
            wrong.append((place[:200], f"is no field of {message.name}{parameters.meant(name, message)}"))
        elif field.name in found:
            wrong.append((place, "is given twice, in both spellings"))
        else:
            found[field.name] = _value(value, field, f"{path}.{field.name}" if path else field.name)
    if wrong:
        raise Problem.invalid_fields(wrong[:_MAX_VIOLATIONS])
    return {name: value for name, value in found.items() if value is not None}


def _value(content: Any, field: FieldDescriptor, path: str) -> Any:
    nested = field.message_type
    if content is None or nested is None or parameters.is_map(field):
        return content
    if field.is_repeated:
        if not isinstance(content, list):
            raise Problem.invalid(path, f"must be a list, not {_kind(content)}")
        return [_element(part, nested, f"{path}[{index}]") for index, part in enumerate(content)]
    return _element(content, nested, path)


def _element(content: Any, message: Descriptor, path: str) -> Any:
    if message.full_name == "google.protobuf.FieldMask" and isinstance(content, str):
        return _mask(content)
    if message.file.package == "google.protobuf":
        return content
    return _object(content, message, path)


def _add_query(request: dict[str, Any], rule: Rule, query_string: bytes) -> None:
    given = parameters.pairs(query_string)
    if given and rule.body == WHOLE:
        raise Problem.invalid(given[0][0], "belongs in the body; this call reads no query parameters")
    for name, _ in given:
        first = parameters.field_of(rule.method.input_type, re.split(r"[.\[]", name, maxsplit=1)[0])
        if first is not None and first.name == rule.body:
            raise Problem.invalid(name, "belongs in the body, not into the query")
    query: dict[str, Any] = {}
    parameters.add_all(query, rule.method.input_type, given)
    for name, value in query.items():
        request[name] = _mask(value) if _is_mask(rule.method.input_type.fields_by_name[name]) else value


def _is_mask(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.FieldMask"


def _mask(text: str) -> str:
    """In the one spelling that protobuf's reader knows."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), text)


def _bind(request: dict[str, Any], path: str, value: str) -> None:
    *steps, last = path.split(".")
    for step in steps:
        request = request.setdefault(step, {})
    if request.get(last) not in (None, "", value):
        raise Problem.invalid(path, f"is {value!r} in the path and {request[last]!r} here; send one or make them equal")
    request[last] = value


def _parsed(rule: Rule, request: dict[str, Any]) -> Message:
    message = rule.request_class()
    try:
        json_format.ParseDict(request, message)
    except json_format.ParseError as exc:
        raise _wrong_value(str(exc)) from exc
    except (ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise Problem.invalid("request", f"has a value that does not fit: {str(exc)[:200]}") from exc
    return message


def _wrong_value(text: str) -> Problem:
    """The text of protobuf names the field in one of two ways; the innermost is the field at fault."""
    chain = _CHAIN.findall(text)
    text = _CHAIN.sub("", text).rstrip(".")
    place = _PLACE.search(text)
    description = _ENUM.sub(_values, _PLACE.sub("", text).strip())
    return Problem.invalid(
        place[1] if place else ".".join(chain) or "request", description[:300] or "has a wrong value"
    )


def _values(found: re.Match[str]) -> str:
    names = [name for name in pool.Default().FindEnumTypeByName(found[2]).values_by_name if "UNSPECIFIED" not in name]
    return f"{found[1]!r} is none of {', '.join(names)}{parameters.like(found[1].upper(), names)}"


def _kind(content: Any) -> str:
    names = {list: "a list", dict: "an object", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(content), "null")
