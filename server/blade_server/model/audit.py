r"""Entries of the audit log: what their bytes are, and how each is bound to the one before it.

The bytes of an entry, format 1: a JSON object of these members, all of them strings but `number` and `v`, in the order
of their names, without blanks, in ASCII (everything else as `\uXXXX`):

    v               1, the format
    number          from 1 on without a gap
    time            when it was written, PostgreSQL's clock, `2026-01-31T23:59:59.000001Z`
    principal kind actor address            who, how he signed in, whom he says he is, from where
    method object reason outcome detail     what he did to what, why, and how it ended
    request_digest trace_id                 hex, or empty

The hash of an entry is SHA-256 over the 32 bytes of the hash before it and these bytes; before the first entry stand 32
bytes of zero. Whoever has an export can compute it again without BLADE.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from blade_server.model.access import AuditOutcome, Caller, Deed

FORMAT = 1
NO_HASH = bytes(32)
"""Before the first entry."""
PRUNE = "blade prune-audit"
"""The method of the entry that tells what was pruned: `object` is `audit:NUMBER`, the last entry that is gone, and
`detail` its hash, so that the chain goes on behind it."""
PRUNED = "audit:"

_MOST = {"principal": 250, "actor": 250, "address": 100, "method": 200, "object": 300, "reason": 1000, "detail": 500}
"""Characters of what callers can make long."""


def content_of(number: int, time: str, by: Caller, deed: Deed) -> str:
    """The bytes of an entry, as ASCII text."""
    told = {
        "principal": by.principal.name,
        "actor": by.claims,
        "address": by.address,
        "method": by.method,
        "object": deed.about,
        "reason": deed.reason,
        "detail": deed.detail,
    }
    fields = {
        "v": FORMAT,
        "number": number,
        "time": time,
        "kind": by.principal.kind.value,
        "outcome": deed.outcome.value,
        "request_digest": by.request_digest,
        "trace_id": by.trace_id,
        **{name: _cut(text, _MOST[name]) for name, text in told.items()},
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def hash_of(previous: bytes, content: str) -> bytes:
    """The hash of an entry; `previous` is that of the one before."""
    return hashlib.sha256(previous + content.encode()).digest()


def _cut(text: str, most: int) -> str:
    """Without what PostgreSQL's JSON cannot hold."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """An entry as it is stored."""

    number: int
    hash: bytes
    content: str

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """What its bytes say."""
        fields: Mapping[str, Any] = json.loads(self.content)
        return fields

    @property
    def time(self) -> datetime:
        """When it was written."""
        return datetime.fromisoformat(self.fields["time"])


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which entries somebody asks for; what is empty leaves nothing out. `method`: its full name or the last part."""

    principal: str = ""
    method: str = ""
    object: str = ""
    outcomes: frozenset[AuditOutcome] = frozenset()
    after: datetime | None = None
    before: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last entry of a log, or of the part of it that was pruned; number 0 stands before the first."""

    number: int = 0
    hash: bytes = NO_HASH

    def __str__(self) -> str:
        return f"{self.number} {self.hash.hex()}"


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What reading the whole log found. `first_wrong` is 0 and `problem` empty if nothing is wrong."""

    entry_count: int
    head: Head
    problem: str = ""
    first_wrong: int = 0
