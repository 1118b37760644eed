"""Who did what: the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from blade.v1 import audit_service_pb2 as pb
from blade_client.calls import Calls, names, pages, timestamp


class AuditCalls:
    """AuditService; it is `BladeClient.audit`. It needs the role AUDITOR, which ADMIN does not hold."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(
        self,
        *,
        principal: str = "",
        method: str = "",
        about: str = "",
        outcomes: Iterable[pb.AuditEntry.Outcome | str] | str = (),
        after: datetime | None = None,
        before: datetime | None = None,
        page_size: int | None = None,
    ) -> Iterator[pb.AuditEntry]:
        """Entries, newest first, fetched page by page as they are read.

        Args:
            principal: Only what he did.
            method: Only these calls, by the method's full name or its last part.
            about: Only what was done to this: `job:ID`, `source:NAME`, `token:ID` or `grant:ID`.
            outcomes: Only what ended so, as values or names (`"REFUSED"`). Default: all.
            after: Only what was written at or after this time; aware.
            before: Only what was written before this time; aware.
            page_size: Entries a call, 1 to 1000. Default: 100.

        Raises:
            ValueError: An outcome has no such name, or a time has no zone.
        """
        request = pb.ListAuditEntriesRequest(
            page_size=page_size,
            principal=principal,
            method=method,
            object=about,
            outcomes=names(outcomes),
            after=timestamp(after),
            before=timestamp(before),
        )

        def fetch(page_token: str) -> tuple[Iterable[pb.AuditEntry], str]:
            request.page_token = page_token
            page = self._calls.unary(lambda s: s.audit.ListAuditEntries, request, repeatable=True)
            return page.entries, page.next_page_token

        return pages(fetch)

    def export(self, *, first: int = 0, timeout_s: float | None = None) -> Iterator[pb.ExportedEntry]:
        """All entries, oldest first, each with the bytes that its hash is made of, as they come.

        Args:
            first: Number of the first entry. Default: the oldest that is kept.
            timeout_s: Longest time for all of them. Default: no limit.
        """
        request = pb.ExportAuditLogRequest(first=first)
        for answer in self._calls.stream(lambda s: s.audit.ExportAuditLog, request, timeout_s=timeout_s):
            yield from answer.entries

    def verify(self, *, anchor_number: int = 0, anchor_hash: str = "") -> pb.VerifyAuditLogResponse:
        """Lets the server read its whole log and tell whether an entry was changed, is missing, or was cut off.

        An answer with `intact` false is no error. The log is read within the client's `timeout_s`.

        Args:
            anchor_number: Number of an entry that is known to have been there. Default: none.
            anchor_hash: Its hash, 64 hex digits.
        """
        request = pb.VerifyAuditLogRequest(anchor_number=anchor_number, anchor_hash=anchor_hash)
        return self._calls.unary(lambda s: s.audit.VerifyAuditLog, request, repeatable=True)
