"""Fields of a message put into another of its kind: what an update, or a copy, changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from blade_server.errors import Invalid


def set_fields(message: Message) -> list[str]:
    """The names of all fields that are set: what an absent mask stands for."""
    return [field.name for field, _ in message.ListFields()]


def merge(into: Message, new: Message, paths: Iterable[str], *, field: str) -> None:
    """Puts the values at these paths (`guards.max_deletes`) in their place; what `new` leaves unset becomes unset.

    Raises:
        Invalid: a path that names no field, as a mistake in `field`.
    """
    for path in paths:
        _put(into, new, path.split("."), path, field)


def _put(into: Any, new: Any, names: list[str], path: str, field: str) -> None:
    name, *inner = names
    known = into.DESCRIPTOR.fields_by_name.get(name)
    if known is None or (inner and (known.message_type is None or known.is_repeated)):
        raise Invalid.field(field, f"{path!r} is not a field that can change; see {into.DESCRIPTOR.full_name}")
    if inner:
        _put(getattr(into, name), getattr(new, name), inner, path, field)
        return
    into.ClearField(name)
    if known.has_presence and not new.HasField(name):
        return
    only = type(new)()
    if known.is_repeated or known.message_type is not None:
        getattr(only, name).MergeFrom(getattr(new, name))
    else:
        setattr(only, name, getattr(new, name))
    into.MergeFrom(only)
