"""Entries of the audit log, and what callers ask of it."""

from __future__ import annotations

from contextlib import suppress

from blade.v1 import audit_service_pb2 as pb
from blade_server.errors import Invalid
from blade_server.model.access import AuditOutcome
from blade_server.model.audit import AuditEntry, AuditFilter, Head
from blade_server.rpc.convert.fields import instant, numbers_of

OUTCOMES = numbers_of(AuditOutcome, pb.AuditEntry.Outcome)
_OUTCOME_OF = {number: outcome for outcome, number in OUTCOMES.items()}
_NUMBERS = {outcome.value: number for outcome, number in OUTCOMES.items()}
_TEXTS = (
    "principal",
    "kind",
    "actor",
    "address",
    "method",
    "object",
    "reason",
    "request_digest",
    "detail",
    "trace_id",
)
_HASH_BYTES = 32


def entry_message(entry: AuditEntry) -> pb.AuditEntry:
    """An entry; one that somebody has spoilt, as far as it can be read."""
    fields = entry.fields
    message = pb.AuditEntry(number=entry.number, hash=entry.hash.hex())
    for name in _TEXTS:
        setattr(message, name, str(fields.get(name, "")))
    message.outcome = _NUMBERS.get(fields.get("outcome", ""), pb.AuditEntry.Outcome.OUTCOME_UNSPECIFIED)
    with suppress(KeyError, ValueError):
        message.time.FromDatetime(entry.time)
    return message


def exported_message(entry: AuditEntry) -> pb.ExportedEntry:
    """An entry with its bytes."""
    return pb.ExportedEntry(entry=entry_message(entry), content=entry.content.encode())


def filter_from(request: pb.ListAuditEntriesRequest) -> AuditFilter:
    """Which entries a caller asks for. Raises Invalid."""
    unknown = [number for number in request.outcomes if number not in _OUTCOME_OF]
    if unknown:
        raise Invalid.field("outcomes", f"{unknown[0]} is none of {', '.join(AuditOutcome)}")
    return AuditFilter(
        principal=request.principal,
        method=request.method,
        object=request.object,
        outcomes=frozenset(_OUTCOME_OF[number] for number in request.outcomes),
        after=instant(request, "after"),
        before=instant(request, "before"),
    )


def anchor_from(request: pb.VerifyAuditLogRequest) -> Head | None:
    """A head that was seen before, or None. Raises Invalid."""
    if not request.anchor_number and not request.anchor_hash:
        return None
    if request.anchor_number < 1:
        raise Invalid.field("anchor_number", f"{request.anchor_number} is no number of an entry; they begin with 1")
    try:
        hash_ = bytes.fromhex(request.anchor_hash)
    except ValueError:
        hash_ = b""
    if len(hash_) != _HASH_BYTES:
        raise Invalid.field("anchor_hash", "must be the entry's hash, 64 hex digits")
    return Head(number=request.anchor_number, hash=hash_)
