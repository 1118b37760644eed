"""Takes old months out of the audit log, after they were written to a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TextIO

from blade_server.core.audit.chain import BrokenChain, Chain, pages
from blade_server.core.audit.heads import Heads
from blade_server.errors import Precondition, Reason
from blade_server.model.access import Caller, Deed, Kind, Principal
from blade_server.model.audit import PRUNE, PRUNED, AuditEntry, Head
from blade_server.storage.audit import AuditStore

_SLICE = 10_000


def prune(store: AuditStore, heads: Heads, *, before: date, export: Path, operator: str) -> Head:
    """Exports the entries of all months in front of the one of `before`, says so in the log, and deletes them.

    Every line of the file is an entry: its hash in hex, a blank, its bytes. If it is interrupted, the next call deletes
    what this one has left. Returns the last entry that is gone.

    Raises:
        Precondition: an entry is wrong or missing; nothing is deleted.
        FileExistsError, OSError: the file is there, or cannot be written; nothing is deleted.
        ValueError: the anchor file cannot be written; nothing is deleted.
        StorageUnavailable.
    """
    pruned = store.pruned()
    last = store.last_before(datetime(before.year, before.month, 1, tzinfo=UTC))
    if last.number > pruned.number:
        heads.check()
        _export(store, pruned, last, export)
        heads.tell()
        by = Caller(principal=Principal(name="server", kind=Kind.SERVER), method=PRUNE, claims=operator)
        store.append([(by, Deed(about=f"{PRUNED}{last.number}", detail=last.hash.hex()))])
        pruned = last
    while store.drop(pruned.number, limit=_SLICE):
        pass
    return pruned


def _export(store: AuditStore, pruned: Head, last: Head, file: Path) -> None:
    try:
        opened = file.open("x")
    except FileExistsError as exc:
        raise FileExistsError(f"{file} is there already; name a new file") from exc
    try:
        with opened:
            _write(opened, Chain(pruned), _up_to(store, pruned, last))
    except BrokenChain as broken:
        file.unlink()
        message = f"the audit log is not whole, so nothing is deleted: {broken.problem}"
        raise Precondition(message, reason=Reason.INTERNAL) from broken
    except BaseException:
        file.unlink()
        raise


def _write(file: TextIO, chain: Chain, entries: Iterable[AuditEntry]) -> None:
    for entry in entries:
        chain.add(entry)
        file.write(f"{entry.hash.hex()} {entry.content}\n")
    file.flush()
    os.fsync(file.fileno())


def _up_to(store: AuditStore, pruned: Head, last: Head) -> Iterator[AuditEntry]:
    for page in pages(store, pruned.number):
        for entry in page:
            if entry.number > last.number:
                return
            yield entry
