"""Jobs as callers see them: one, a page of them, the items of one that failed."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Sequence
from datetime import datetime

from blade_server.core import paging
from blade_server.core.audit.recorder import Recorder
from blade_server.core.jobs.checks import given, seen
from blade_server.core.jobs.redaction import for_caller, may_read, redacted_error
from blade_server.errors import Invalid
from blade_server.model import ItemError, Job, JobKind, Status
from blade_server.model.access import Caller, Role
from blade_server.storage.jobs.show import JobStore

DEFAULT_PAGE_SIZE = 50
DEFAULT_ERRORS_PAGE_SIZE = 100
_SEQ = re.compile(r"-1|\d{1,18}", re.ASCII)


class ShowJobs:
    """Thread-safe; each call is one short transaction. Raises what the storage raises."""

    def __init__(self, store: JobStore, recorder: Recorder, classifications: Sequence[str]) -> None:
        """`classifications`: the known ones, lowest first."""
        self._store = store
        self._recorder = recorder
        self._classifications = classifications

    def may_read(self, job: Job, *, by: Caller) -> bool:
        """Whether the caller may read the rows of a job, and with them all that is said of it."""
        return may_read(job, by, self._classifications)

    def for_caller(self, job: Job, *, by: Caller) -> Job:
        """The job as the caller may see it."""
        return for_caller(job, by, self._classifications)

    def get(self, job_id: str, *, by: Caller, history: bool = True) -> Job:
        """The job, whole, with error summaries and, if asked, its history. Raises NotFound."""
        return seen(self._store.get(given(job_id, "id"), history=history), by)

    async def get_quickly(self, job_id: str, *, by: Caller) -> Job | None:
        """The job as `get`, without a thread; the same object while nothing changes. None: `get` knows why."""
        job = await self._store.live.get(job_id)
        return None if job is None else seen(job, by)

    def tell_rows(self, job: Job, *, by: Caller) -> bool:
        """Tells the audit log if rows are given with the job, samples of what failed, and whether they are.

        Raises StorageUnavailable if too much waits to be written.
        """
        has_rows = bool(job.error_summaries) and self.may_read(job, by=by)
        if has_rows:
            self._recorder.read(by, f"job:{job.job_id}")
        return has_rows

    def list(
        self,
        *,
        by: Caller,
        page_size: int | None = None,
        page_token: str = "",
        statuses: Collection[Status] = (),
        source: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        with_errors: bool = False,
        kinds: Collection[JobKind] = (),
        sync: str = "",
    ) -> tuple[builtins.list[Job], str]:
        """A page of jobs as the caller may see them, newest first, and the token of the next page ("" on the last).

        `kinds` empty: QUERY, or all of them where a `sync` is named. Raises Invalid.
        A page ends early where the SQL of its jobs comes to paging.MAX_PAGE_TEXT.
        """
        size = paging.page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"jobs\0{sorted(statuses)}\0{source}\0{created_after}\0{created_before}{by.bound}"
        scope += "\0with errors" if with_errors else ""  # the tokens of older servers hold without it
        scope += f"\0{sorted(kinds)}\0{sync}" if kinds or sync else ""
        before = paging.read_token(page_token, scope=scope)
        if not before.isprintable():
            raise Invalid.field("page_token", "is forged; begin again without a token")
        found = self._store.page(
            limit=size + 1,
            before_job_id=before,
            statuses=statuses,
            source=source,
            created_after=created_after,
            created_before=created_before,
            with_errors=with_errors,
            kinds=kinds or (() if sync else (JobKind.QUERY,)),
            sync=sync,
            seen=by.sees,
        )
        page = found[: min(size, paging.fitting(job.spec.sql for job in found))]
        more = len(found) > len(page)
        next_token = paging.make_token(page[-1].job_id, scope=scope) if more else ""
        return [self.for_caller(job, by=by) for job in page], next_token

    def errors(
        self, job_id: str, *, by: Caller, page_size: int | None = None, page_token: str = ""
    ) -> tuple[builtins.list[ItemError], str]:
        """A page of item errors in the order of recording, and the token of the next. Raises NotFound, Invalid."""
        size = paging.page_size(page_size, default=DEFAULT_ERRORS_PAGE_SIZE)
        scope = f"errors\0{given(job_id)}{by.bound}"
        after = paging.read_token(page_token, scope=scope) or "-1"
        if not _SEQ.fullmatch(after):
            raise Invalid.field("page_token", "is forged; begin again without a token")
        reads = by.principal.scope(Role.READER)
        found, readable = self._store.errors(job_id, after_seq=int(after), limit=size + 1, seen=by.sees, reads=reads)
        if readable and not by.principal.everywhere(Role.EDITOR):
            readable = self.may_read(self._store.get(job_id, history=False), by=by)
        if readable:
            self._recorder.read(by, f"job:{job_id}")
        more = len(found) > size
        next_token = paging.make_token(str(found[size - 1][0]), scope=scope) if more else ""
        return [error if readable else redacted_error(error) for _, error in found[:size]], next_token
