"""Who calls: what a call carries about it, and the `Caller` that it becomes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc.aio

from blade_server import tracing
from blade_server.core.access.door import Shown
from blade_server.model.access import Caller, Principal, Role
from blade_server.rpc.certificates import name_in_certificate

ACTOR_KEY = "blade-actor"
AUTHORIZATION_KEY = "authorization"
DOOR_KEY = "blade-door"
"""Carries the key of this process: only then the two below count. REST reaches gRPC over a socket, and the address that
gRPC sees is that socket's."""
PEER_KEY = "blade-peer"
SESSION_KEY = "blade-session"
MAX_ACTOR_CHARS = 200

Context = grpc.aio.ServicerContext[Any, Any]

_current: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """Who makes the call that this task handles. LookupError outside of one: a handler nobody stands before."""
    return _current.get()


@contextmanager
def entering(by: Caller) -> Iterator[None]:
    """What this task does inside is for him."""
    token = _current.set(by)
    try:
        yield
    finally:
        _current.reset(token)


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What the metadata of a call says: `shown` is for the door, `peer` the address, `claims` the caller's own word."""

    shown: Shown
    peer: str
    claims: str

    def caller(self, principal: Principal, needs: Role | None, method: str, raw: bytes) -> Caller:
        """The call as plain data."""
        return Caller(
            principal=principal,
            needs=needs,
            method=method,
            claims=self.claims,
            address=self.peer,
            request_digest=hashlib.sha256(raw).hexdigest(),
            traceparent=tracing.headers().get(tracing.TRACEPARENT, ""),
        )


class Lines:
    """Reads the metadata of calls, once each."""

    def __init__(self, *, certificates: bool = False) -> None:
        """`certificates`: callers may have one."""
        self._certificates = certificates
        self.door_key = secrets.token_urlsafe(32)
        """For the HTTP side of this very process, and nobody else."""

    def read(self, context: Context) -> Carried:
        """What the call carries."""
        found = _metadata(context)
        is_our_own = self._is_our_own(found)
        certificate, certificate_ends = name_in_certificate(context) if self._certificates else ("", None)
        claims = found.get(ACTOR_KEY, "").strip()
        return Carried(
            shown=Shown(
                authorization=found.get(AUTHORIZATION_KEY, ""),
                session=found.get(SESSION_KEY, "") if is_our_own else "",
                certificate=certificate,
                certificate_ends=certificate_ends,
            ),
            peer=_peer(context, found if is_our_own else {}),
            claims=claims if claims.isprintable() and len(claims) <= MAX_ACTOR_CHARS else "",
        )

    def trace(self, context: Context) -> dict[str, str]:
        """In which span of a trace the caller calls, as he wrote it."""
        found = _metadata(context)
        return {name: found[name] for name in (tracing.TRACEPARENT, tracing.TRACESTATE) if name in found}

    def peer(self, context: Context) -> str:
        """The caller's address alone, as in `127.0.0.1:41234` or `[::1]:41234`."""
        found = _metadata(context)
        return _peer(context, found if self._is_our_own(found) else {})

    def _is_our_own(self, found: dict[str, str]) -> bool:
        return hmac.compare_digest(found.get(DOOR_KEY, "").encode(), self.door_key.encode())


def _metadata(context: Context) -> dict[str, str]:
    """The first value of each key."""
    found: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found.setdefault(key, value)
    return found


def _peer(context: Context, ours: dict[str, str]) -> str:
    """`ours`: what the HTTP side of this process says of the call, if it made it."""
    if PEER_KEY in ours:
        return ours[PEER_KEY]
    scheme, _, address = unquote(context.peer()).partition(":")
    return address if scheme in ("ipv4", "ipv6") else f"{scheme}:{address}"
