"""What a server has, as documents that `apply` finds nothing to do for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from blade_client.as_code.fields import is_duration, is_map
from blade_client.as_code.kinds import KINDS, Kind, check_shown
from blade_client.client import BladeClient


class _Dumper(yaml.SafeDumper):
    """Text of several lines stands as a block."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value and not value.startswith((" ", "\n")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def stored_things(blade: BladeClient) -> Iterable[tuple[Kind, Any]]:
    """All that there is, in the order in which it is applied."""
    for kind in KINDS.values():
        for each in kind.calls.all(blade):
            yield kind, each


def document_of(kind: Kind, stored: Any) -> dict[str, Any]:
    """One thing as a document; what is as the server would have it anyway is left out. Raises NotAllowed."""
    check_shown(kind, stored)
    return {"kind": kind.name, "name": stored.name, "spec": _plain(kind.spec_of(stored), "", kind)}


def as_yaml(documents: Iterable[dict[str, Any]]) -> str:
    """Documents as a file."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, explicit_start=True)


def _plain(message: Message, prefix: str, kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        path = prefix + field.name
        if path in kind.hidden:
            continue
        plain = _value(field, value, path, kind)
        if plain not in ({}, None):
            found[field.json_name] = plain
    return found


def _value(field: FieldDescriptor, value: Any, path: str, kind: Kind) -> Any:
    default = kind.defaults.get(path)
    if is_map(field):
        return dict(sorted(value.items()))
    if is_duration(field):
        seconds = value.ToTimedelta().total_seconds()
        return None if seconds in (0, default) else f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"
    if field.message_type is not None:
        return _plain(value, f"{path}.", kind)
    if field.is_repeated:
        return [_scalar(field, each) for each in value]
    plain = _scalar(field, value)
    return None if plain == default else plain


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
