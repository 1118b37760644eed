"""Whether entries are bound to each other as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blade_server.core import caller
from blade_server.model.audit import AuditEntry, Head, hash_of
from blade_server.storage.audit import AuditStore

PAGE = 1000


class BrokenChain(Exception):
    """Something is wrong with the log; `number` is that of the first entry that is wrong or missing."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(problem)
        self.number = number
        self.problem = problem


def pages(store: AuditStore, after: int) -> Iterator[list[AuditEntry]]:
    """All entries behind a number, in order; a page in memory. Raises StorageUnavailable, Deadline."""
    while page := store.after(after, limit=PAGE):
        caller.check()
        yield page
        after = page[-1].number


@dataclass
class Chain:
    """What was read so far, from a known head on."""

    head: Head
    entry_count: int = 0

    def add(self, entry: AuditEntry) -> None:
        """The next entry. Raises BrokenChain."""
        expected = self.head.number + 1
        if entry.number > expected:
            last = entry.number - 1
            which = f"entry {expected}" if last == expected else f"entries {expected} to {last}"
            raise BrokenChain(expected, f"missing: {which}")
        if entry.number != entry.fields.get("number") or entry.hash != hash_of(self.head.hash, entry.content):
            problem = f"entry {entry.number} does not fit the one before it: it was changed, or is another one"
            raise BrokenChain(entry.number, problem)
        self.head = Head(number=entry.number, hash=entry.hash)
        self.entry_count += 1
