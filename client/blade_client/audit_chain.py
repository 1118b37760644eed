"""Whether an export of the audit log is whole and unchanged, computed anew without a server.

The hash of an entry is SHA-256 over the 32 bytes of the hash before it and the entry's own bytes (`content`): a JSON
object with the same members as the entry. Before entry 1 stand 32 bytes of zero.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1.audit_service_pb2 import AuditEntry, ExportedEntry, VerifyAuditLogResponse

_FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TEXTS = ("principal", "kind", "actor", "address", "method", "object", "reason", "request_digest", "detail", "trace_id")
_PRUNE = "blade prune-audit"
_PRUNED = "audit:"


def check(exported: Iterable[ExportedEntry], anchors: Mapping[int, str]) -> VerifyAuditLogResponse:
    """Checks entries in their order, and stops at the first that is wrong.

    An export need not begin with entry 1. Its first entry is then bound to an anchor of the number before it, or to an
    entry that tells what was pruned; without either it is taken as it is.

    Args:
        exported: The entries.
        anchors: Hashes in hex by number of the entry, known from elsewhere; those in front of the first do not count.

    Returns:
        As the server answers VerifyAuditLog.
    """
    found = VerifyAuditLogResponse()
    chain = _Chain(anchors)
    for each in exported:
        found.problem = chain.problem_with(each)
        if found.problem:
            found.first_wrong = each.entry.number
            return found
        found.entry_count += 1
        found.head_number, found.head_hash = each.entry.number, each.entry.hash
    behind = [number for number in anchors if number > found.head_number]
    if behind:
        found.first_wrong = found.head_number + 1
        found.problem = (
            f"it ends with entry {found.head_number}, and there was an entry {max(behind)}: its end is cut off"
        )
    found.intact = not found.problem
    return found


def entry_of(content: bytes, hash_: str) -> ExportedEntry:
    """An entry made from its bytes. Raises ValueError if they are none of an entry."""
    try:
        told = json.loads(content)
        texts = {name: told[name] for name in _TEXTS}
        entry = AuditEntry(number=told["number"], hash=hash_, outcome=told["outcome"], **texts)
        entry.time.FromJsonString(told["time"])
    except (KeyError, TypeError, AttributeError) as wrong:
        raise ValueError("these are no bytes of an entry") from wrong
    return ExportedEntry(entry=entry, content=content)


class _Chain:
    """What the entries so far have led to."""

    def __init__(self, anchors: Mapping[int, str]) -> None:
        self._anchors = anchors
        self._first: ExportedEntry | None = None
        self._number = 0
        self._hash = b""

    def problem_with(self, each: ExportedEntry) -> str:
        """What is wrong with the next entry; empty if nothing is."""
        entry = each.entry
        if self._first is None:
            self._first = each
            self._number, self._hash = max(entry.number, 1) - 1, self._before(entry)
        if entry.number != self._number + 1:
            return f"entry {entry.number} comes where entry {self._number + 1} should"
        if not self._binds(each, self._hash):
            return f"entry {entry.number} was changed, or one before it: its hash is another"
        if entry.number in self._anchors and self._anchors[entry.number] != entry.hash:
            return f"entry {entry.number} is another than the one that the anchor is of"
        self._number, self._hash = entry.number, bytes.fromhex(entry.hash)
        return self._told_otherwise(each) or self._begins_otherwise(entry)

    def _before(self, first: AuditEntry) -> bytes:
        """The hash in front of the first entry; empty if nobody knows it."""
        return bytes(32) if first.number == 1 else bytes.fromhex(self._anchors.get(first.number - 1, ""))

    @staticmethod
    def _binds(each: ExportedEntry, before: bytes) -> bool:
        made = hashlib.sha256(before + each.content).hexdigest()
        return bool(_HASH.fullmatch(each.entry.hash)) and (not before or made == each.entry.hash)

    @staticmethod
    def _told_otherwise(each: ExportedEntry) -> str:
        """Whether the entry says something else than the bytes that its hash is made of."""
        entry = each.entry
        try:
            told = json.loads(each.content)
            if told["v"] != _FORMAT:
                return f"entry {entry.number} has format {told['v']}, which this version of BLADE does not know"
            other = _differing(entry, told)
        except (ValueError, KeyError, TypeError):
            return f"entry {entry.number} has bytes that are none of an entry"
        return f"entry {entry.number} says something else in {', '.join(other)} than its bytes do" if other else ""

    def _begins_otherwise(self, entry: AuditEntry) -> str:
        """Whether an entry that tells what was pruned shows that the first one here did not follow it."""
        first = self._first
        if first is None or entry.method != _PRUNE or entry.object != f"{_PRUNED}{first.entry.number - 1}":
            return ""
        try:
            bound = self._binds(first, bytes.fromhex(entry.detail))
        except ValueError:
            bound = False
        return "" if bound else f"entry {first.entry.number} is not what stood behind those that were pruned"


def _differing(entry: AuditEntry, told: Mapping[str, Any]) -> list[str]:
    time = Timestamp()
    time.FromJsonString(told["time"])
    same = {name: getattr(entry, name) == told[name] for name in _TEXTS}
    same["number"] = entry.number == told["number"]
    same["time"] = entry.time == time
    same["outcome"] = AuditEntry.Outcome.Name(entry.outcome) == told["outcome"]
    return [name for name, is_same in same.items() if not is_same]
