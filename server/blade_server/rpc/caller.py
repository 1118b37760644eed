"""Who calls: for the log, and for the history of a job."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import grpc.aio

ACTOR_KEY = "blade-actor"
MAX_ACTOR_CHARS = 200

Context = grpc.aio.ServicerContext[Any, Any]


def peer(context: Context) -> str:
    """The caller's address, as in `127.0.0.1:41234` or `[::1]:41234`."""
    scheme, _, address = unquote(context.peer()).partition(":")
    return address if scheme in ("ipv4", "ipv6") else f"{scheme}:{address}"


def actor(context: Context) -> str:
    """The `blade-actor` the caller sent, if it is printable and has at most 200 characters; else its address."""
    for key, value in context.invocation_metadata() or ():
        if key == ACTOR_KEY and isinstance(value, str):
            name = value.strip()
            if name and name.isprintable() and len(name) <= MAX_ACTOR_CHARS:
                return name
    return peer(context)
