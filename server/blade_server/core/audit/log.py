"""The audit log as auditors see it: a page of it, all of it, and whether it is whole."""

from __future__ import annotations

import re
from collections.abc import Sequence

from blade_server.core import paging
from blade_server.core.audit.chain import BrokenChain, Chain, pages
from blade_server.errors import Invalid
from blade_server.model.access import Caller
from blade_server.model.audit import AuditEntry, AuditFilter, Head, Verified
from blade_server.storage.audit import AuditStore

DEFAULT_PAGE_SIZE = 100
EXPORTED_AT_ONCE = 500
_MAX_NUMBER = 2**63 - 1
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class AuditLog:
    """Thread-safe. Each call blocks on PostgreSQL and raises StorageUnavailable."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    def list(
        self, wanted: AuditFilter, *, by: Caller, page_size: int | None = None, page_token: str = ""
    ) -> tuple[Sequence[AuditEntry], str]:
        """A page of entries, newest first, and the token of the next page ("" on the last). Raises Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        told = (wanted.principal, wanted.method, wanted.object, sorted(wanted.outcomes), wanted.after, wanted.before)
        scope = f"audit\0{told}{by.bound}"
        before = paging.read_token(page_token, scope=scope)
        if before and not _NUMBER.fullmatch(before):
            raise Invalid.field("page_token", "is forged; begin again without a token")
        found = self._store.page(wanted, before=int(before) if before else None, limit=size + 1)
        next_token = paging.make_token(str(found[size - 1].number), scope=scope) if len(found) > size else ""
        return found[:size], next_token

    def exported(self, first: int) -> Sequence[AuditEntry]:
        """The next entries from a number on, in order; none: there are no more. Begins behind what was pruned."""
        if not 0 <= first <= _MAX_NUMBER:
            raise Invalid.field("first", f"{first} is no number of an entry; they begin with 1")
        return self._store.after(max(first - 1, self._store.pruned().number), limit=EXPORTED_AT_ONCE)

    def verify(self, anchor: Head | None = None) -> Verified:
        """Reads all that is kept, from what was pruned to the end; `anchor` is a head that was seen before.

        Raises Invalid for an anchor that was pruned, Deadline if the caller leaves.
        """
        while True:
            pruned = self._store.pruned()
            if anchor is not None and anchor.number < pruned.number:
                raise Invalid.field(
                    "anchor_number", f"entry {anchor.number} was pruned; take an anchor of {pruned.number} or later"
                )
            found = self._verified(pruned, anchor)
            if not found.problem or self._store.pruned() == pruned:  # else what is missing was pruned meanwhile
                return found

    def _verified(self, pruned: Head, anchor: Head | None) -> Verified:
        chain = Chain(pruned)
        try:
            _check(anchor, pruned)
            for page in pages(self._store, pruned.number):
                for entry in page:
                    chain.add(entry)
                    _check(anchor, chain.head)
            last = chain.head.number
            if anchor is not None and anchor.number > last:
                problem = f"cut off: entry {anchor.number} is known to have been there, and the last is {last}"
                raise BrokenChain(last + 1, problem)
        except BrokenChain as broken:
            return Verified(
                entry_count=chain.entry_count,
                head=self._store.head(),
                problem=broken.problem,
                first_wrong=broken.number,
            )
        return Verified(entry_count=chain.entry_count, head=chain.head)


def _check(anchor: Head | None, head: Head) -> None:
    if anchor is not None and anchor.number == head.number and anchor.hash != head.hash:
        problem = f"entry {head.number} has not the hash of the anchor: it, or what is before it, was written anew"
        raise BrokenChain(head.number, problem)
