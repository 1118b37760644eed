"""The request of a call: parsed, or refused with a word on what is wrong with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from blade_server.errors import Invalid
from blade_server.rpc.around.call import Call
from blade_server.rpc.caller import Context


def with_request(
    parse: Callable[[bytes], Message], answer: Callable[[Any, Context], Awaitable[Message | bytes | None]]
) -> Call:
    """Gives `answer` the parsed request, and what it answers as bytes. Raises Invalid."""

    async def call(raw: bytes, context: Context) -> bytes | None:
        answered = await answer(_parsed(parse, raw), context)
        return answered.SerializeToString() if isinstance(answered, Message) else answered

    return call


def _parsed(parse: Callable[[bytes], Message], raw: bytes) -> Message:
    """The request. Raises Invalid if it does not parse, or has text that PostgreSQL and SQL cannot hold."""
    try:
        request = parse(raw)
    except DecodeError as exc:
        what = "text that is not UTF-8" if "UTF-8" in str(exc) else "bytes that are not such a message"
        raise Invalid.field("request", f"has {what}; send it as blade.v1 says") from exc
    if b"\0" in raw:
        _refuse_nul(request, "")
    return request


def _refuse_nul(message: Message, path: str) -> None:
    for field, value in message.ListFields():
        name = path + field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values: Any = [part for pair in value.items() for part in pair]
        else:
            values = value if field.is_repeated else [value]
        for part in values:
            if isinstance(part, Message):
                _refuse_nul(part, name + ".")
            elif field.type != FieldDescriptor.TYPE_BYTES and isinstance(part, str) and "\0" in part:
                raise Invalid.field(name, "has a NUL character; take it out")
