"""The HTTP side by itself, in front of a gRPC server of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from blade_server.core.access.door import Door
from blade_server.core.access.sessions import Sessions
from blade_server.model.policy import AccessPolicy, ListenPolicy, WebPolicy
from blade_server.web.app import Web

NOTHING: Any = SimpleNamespace()


def open_web(target: str, listen: ListenPolicy | None = None, **policy: Any) -> Web:
    """Nobody signs in here, so nothing is looked up."""
    sessions = Sessions(Door(AccessPolicy(required=False), NOTHING), NOTHING)
    return Web(
        target, WebPolicy(listen=listen or ListenPolicy(), **policy), sessions, NOTHING, door_key="key", checks=tuple
    )
