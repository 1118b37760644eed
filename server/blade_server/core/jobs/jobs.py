"""Jobs as callers see them: start, preview, show, control. Running them is the runner's business."""

from __future__ import annotations

import builtins
import json
import math
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import blake2b

from blade_server.core import sql
from blade_server.core.paging import make_token, page_size, read_token
from blade_server.core.sources.credentials import target
from blade_server.core.sources.rules import check_pairs
from blade_server.core.sources.sources import Sources
from blade_server.core.transform.provenance import item_metadata
from blade_server.core.transform.transform import Transform, Transformed
from blade_server.errors import Invalid, Precondition, Reason, Violation
from blade_server.model import Action, ItemError, Job, JobLimits, JobSpec, Source, Status
from blade_server.settings import Settings
from blade_server.storage.jobs.control import JobControl
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore
from blade_server.warehouse import Warehouse

MAX_BATCH_SIZE = 1000
MAX_WORKERS = 64
MAX_REASON_CHARACTERS = 1000
MAX_REQUEST_ID_CHARACTERS = 128
DEFAULT_PAGE_SIZE = 50
DEFAULT_ERRORS_PAGE_SIZE = 100
DEFAULT_PREVIEW_ROWS = 10
MAX_PREVIEW_ROWS = 1000
MAX_PAGE_SQL_BYTES = 8 << 20
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: sorts as the numbers do."""
_SEQ = re.compile(r"-1|\d{1,18}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class StartJob:
    """What a caller asks for; see blade.v1.StartQueryJobRequest. None stands for the default."""

    sql: str = ""
    data_type: str = ""
    source: str = ""
    batch_size: int | None = None
    workers: int | None = None
    items_per_second: float | None = None
    max_errors: int | None = None
    max_error_share: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    classification: str = ""
    skip_existing: bool = False
    request_id: str = ""


def new_job_id() -> str:
    """`job-` and 20 characters: 48 bits of milliseconds, then 52 random ones. Ids sort by time."""
    number = (time.time_ns() // 1_000_000) << 52 | secrets.randbits(52)
    return "job-" + "".join(ALPHABET[number >> shift & 31] for shift in range(95, -1, -5))


class Jobs:
    """Thread-safe; each call is one or a few short transactions. Raises what the storage and the sources raise."""

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        sources: Sources,
        wake: Callable[[], None],
        *,
        new_jobs: NewJobs,
        control: JobControl,
    ) -> None:
        self._settings = settings
        self._store = store
        self._new_jobs = new_jobs
        self._control = control
        self._sources = sources
        self._wake = wake

    # ------------------------------------------------------------------------------------------------- start

    def start(self, request: StartJob, *, actor: str) -> Job:
        """Checks the request and stores a PENDING job.

        Raises:
            Invalid: naming all wrong fields; the SQL is parsed here, not run.
            NotFound, Precondition: there is no such source, or it is switched off.
            QuotaExceeded: too many open jobs.
        """
        self._check(request)
        request_hash = _fingerprint({**asdict(request), "request_id": ""})
        stored = self._new_jobs.replay(request.request_id, request_hash)
        if stored is not None:  # whatever became of the source since
            return stored
        resolved = self._resolve(request.sql, request.data_type, request.source)
        source = resolved.source
        spec = JobSpec(
            sql=request.sql or resolved.statement,
            source=source.name,
            data_type=source.data_type,
            batch_size=request.batch_size or 100,
            workers=request.workers or self._settings.upload_workers,
            limits=JobLimits(
                items_per_second=request.items_per_second or 0.0,
                max_errors=request.max_errors,
                max_error_share=request.max_error_share,
            ),
            metadata=dict(request.metadata),
            classification=request.classification,
            skip_existing=request.skip_existing,
        )
        job = self._new_jobs.add(
            new_job_id(),
            spec,
            source,
            statement=resolved.statement,
            actor=actor,
            max_open_jobs=self._settings.max_open_jobs,
            request_id=request.request_id,
            request_hash=request_hash,
        )
        self._wake()
        return job

    def _check(self, request: StartJob) -> None:
        _raise(
            [
                *_limits(request.items_per_second, request.max_errors, request.max_error_share),
                *_range("batch_size", request.batch_size, 1, MAX_BATCH_SIZE),
                *_range("workers", request.workers, 1, MAX_WORKERS),
                *_length("request_id", request.request_id, MAX_REQUEST_ID_CHARACTERS),
                *check_pairs("metadata", request.metadata),
                *self._classification(request.classification),
            ]
        )

    def _classification(self, value: str) -> Iterator[tuple[str, str]]:
        if value and value not in self._settings.known_classifications:
            known = ", ".join(sorted(self._settings.known_classifications))
            yield "classification", f"{value[:80]!r} is not one of the known ones: {known}"

    def _resolve(self, text: str, data_type: str, source_name: str) -> sql.Resolved:
        every = self._sources.all()
        chosen: list[Source] = []
        if source_name:
            chosen = [self._sources.find(data_type, source_name)]
        elif data_type:
            chosen = [source for source in every if source.data_type == data_type]
            if len(chosen) != 1 and (not chosen or not text):
                self._sources.find(data_type)
        if not text:
            if not chosen:
                raise Invalid.field("sql", "is required unless `source` or `data_type` is set")
            text = sql.select(chosen[0], sql.SourceQuery())
        resolved = sql.resolve(text, every, chosen=chosen)
        self._sources.find("", resolved.source.name)  # refuses one that is switched off
        return resolved

    def preview(
        self,
        *,
        sql: str = "",
        data_type: str = "",
        source: str = "",
        limit: int | None = None,
        metadata: Mapping[str, str] | None = None,
        classification: str = "",
    ) -> Transformed:
        """The first `limit` rows of a query as a job would upload them; nothing is written.

        Raises:
            Invalid, NotFound, Precondition as `start`; WarehouseRefused and the like for the query.
        """
        _raise(
            [
                *_range("limit", limit, 1, MAX_PREVIEW_ROWS),
                *check_pairs("metadata", metadata or {}),
                *self._classification(classification),
            ]
        )
        resolved = self._resolve(sql, data_type, source)
        return self._rows(resolved, limit or DEFAULT_PREVIEW_ROWS, metadata or {}, classification)

    def _rows(
        self, resolved: sql.Resolved, limit: int, metadata: Mapping[str, str], classification: str
    ) -> Transformed:
        where = target(self._settings, resolved.source.config)
        with Warehouse(where) as warehouse:
            result = warehouse.execute(sql.limit(resolved.statement, limit), timeout_s=self._settings.query_timeout_s)
            transform = Transform(
                resolved.source,
                result.schema,
                known_classifications=self._settings.known_classifications,
                metadata=item_metadata(resolved.source, where.warehouse_id, metadata),
                classification=classification,
            )
            return transform.all(result)

    def retry(self, job_id: str, *, request_id: str = "", actor: str, reason: str = "") -> Job:
        """Stores a new job over the failed items of a final one: the same SQL, limits and metadata.

        A second row with an item id that was there already is no failed item: sending it would overwrite the first.

        Raises:
            NotFound; Precondition if the job is not final or has no failed items.
        """
        _raise(
            [
                *_length("reason", reason, MAX_REASON_CHARACTERS),
                *_length("request_id", request_id, MAX_REQUEST_ID_CHARACTERS),
            ]
        )
        request_hash = _fingerprint({"retry": _given(job_id)})
        stored = self._new_jobs.replay(request_id, request_hash)
        if stored is not None:  # whatever became of the parent since
            return stored
        parent = self._store.get(job_id, history=False)
        failed = sum(s.count for s in parent.error_summaries if s.reason is not Reason.DUPLICATE_ITEM_ID)
        if not parent.status.final or not failed:
            why = "has no failed items" if parent.status.final else f"is {parent.status}, wait until it has ended"
            raise Precondition(
                f"job {job_id!r} {why}; there is nothing to retry",
                reason=Reason.JOB_STATUS,
                metadata={"status": parent.status.value},
            )
        resolved = self._resolve(parent.spec.sql, "", parent.spec.source)
        job = self._new_jobs.add(
            new_job_id(),
            parent.spec,
            resolved.source,
            statement=resolved.statement,
            actor=actor,
            max_open_jobs=self._settings.max_open_jobs,
            request_id=request_id,
            request_hash=request_hash,
            parent_job_id=job_id,
            reason=reason,
        )
        self._wake()
        return job

    # -------------------------------------------------------------------------------------------------- show

    def get(self, job_id: str) -> Job:
        """The job with error summaries and history. Raises NotFound."""
        return self._store.get(_given(job_id, "id"))

    async def get_quickly(self, job_id: str) -> Job | None:
        """The job as `get`, without a thread; the same object while nothing changes. None: `get` knows why."""
        return await self._store.live.get(job_id)

    def list(
        self,
        *,
        page_size: int | None = None,
        page_token: str = "",
        statuses: Collection[Status] = (),
        source: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> tuple[builtins.list[Job], str]:
        """A page of jobs, newest first, and the token of the next page ("" on the last). Raises Invalid.

        A page ends early where the SQL of its jobs comes to MAX_PAGE_SQL_BYTES.
        """
        size = _page_size(page_size, default=DEFAULT_PAGE_SIZE)
        scope = f"jobs\0{sorted(statuses)}\0{source}\0{created_after}\0{created_before}"
        before = read_token(page_token, scope=scope)
        if not before.isprintable():
            raise Invalid.field("page_token", "is forged; begin again without a token")
        found = self._store.page(
            limit=size + 1,
            before_job_id=before,
            statuses=statuses,
            source=source,
            created_after=created_after,
            created_before=created_before,
        )
        page = found[: min(size, _fitting(found))]
        more = len(found) > len(page)
        return page, make_token(page[-1].job_id, scope=scope) if more else ""

    def errors(
        self, job_id: str, *, page_size: int | None = None, page_token: str = ""
    ) -> tuple[builtins.list[ItemError], str]:
        """A page of item errors in the order of recording, and the token of the next. Raises NotFound, Invalid."""
        size = _page_size(page_size, default=DEFAULT_ERRORS_PAGE_SIZE)
        scope = f"errors\0{_given(job_id)}"
        after = read_token(page_token, scope=scope) or "-1"
        if not _SEQ.fullmatch(after):
            raise Invalid.field("page_token", "is forged; begin again without a token")
        found = self._store.errors(job_id, after_seq=int(after), limit=size + 1)
        more = len(found) > size
        next_token = make_token(str(found[size - 1][0]), scope=scope) if more else ""
        return [error for _, error in found[:size]], next_token

    # ----------------------------------------------------------------------------------------------- control

    def pause(self, job_id: str, *, actor: str, reason: str = "") -> Job:
        """Asks for a pause. Raises NotFound; Precondition if the job is PENDING or final."""
        _raise(_length("reason", reason, MAX_REASON_CHARACTERS))
        return self._control.pause(_given(job_id), actor=actor, reason=reason)

    def resume(self, job_id: str, *, actor: str, reason: str = "") -> Job:
        """Lets the job go on. Raises NotFound; Precondition if the job is PENDING, final or being cancelled."""
        _raise(_length("reason", reason, MAX_REASON_CHARACTERS))
        return self._control.resume(_given(job_id), actor=actor, reason=reason)

    def cancel(self, job_id: str, *, actor: str, reason: str = "") -> Job:
        """Ends the job. No upload starts after this has returned. Raises NotFound; Precondition if it ended otherwise.

        Waits until the server that runs the job has stopped, or its lease is over and it cannot start anything.
        """
        _raise(_length("reason", reason, MAX_REASON_CHARACTERS))
        job = self._control.cancel(_given(job_id), actor=actor, reason=reason)
        deadline = time.monotonic() + self._settings.lease_s + 1.0
        pause_s = 0.01
        while not job.status.final and time.monotonic() < deadline:
            time.sleep(pause_s)
            pause_s = min(0.2, pause_s * 1.5)
            job = self._control.cancel_abandoned(job_id, actor=actor)
            if job.pending_action is not Action.CANCEL:
                break
        return self._store.get(job_id, history=False)

    def update_limits(self, job_id: str, limits: JobLimits, *, actor: str, reason: str = "") -> Job:
        """Replaces the limits. Raises NotFound, Invalid; Precondition if the job is final."""
        rate = limits.items_per_second or None
        _raise(
            [
                *_length("reason", reason, MAX_REASON_CHARACTERS),
                *_limits(rate, limits.max_errors, limits.max_error_share, prefix="limits."),
            ]
        )
        return self._control.set_limits(_given(job_id), limits, actor=actor, reason=reason)


def _fitting(jobs: Sequence[Job]) -> int:
    """How many of the jobs go into one page; at least one."""
    size = 0
    for count, job in enumerate(jobs):
        size += len(job.spec.sql)
        if size > MAX_PAGE_SQL_BYTES and count:
            return count
    return len(jobs)


def _given(job_id: str, name: str = "job_id") -> str:
    if not job_id:
        raise Invalid.field(name, "is required")
    return job_id


def _page_size(asked: int | None, *, default: int) -> int:
    return page_size(asked, default=default)


def _limits(
    rate: float | None, max_errors: int | None, share: float | None, prefix: str = ""
) -> Iterator[tuple[str, str]]:
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        yield f"{prefix}items_per_second", f"{rate:g} is not a number above 0"
    if max_errors is not None and max_errors < 0:
        yield f"{prefix}max_errors", f"{max_errors} is below 0"
    if share is not None and not 0 < share <= 1:
        yield f"{prefix}max_error_share", f"{share:g} is not a share above 0 and up to 1"


def _range(name: str, value: int | None, least: int, most: int) -> Iterator[tuple[str, str]]:
    if value is not None and not least <= value <= most:
        yield name, f"{value} is not between {least} and {most}"


def _length(name: str, value: str, most: int) -> Iterator[tuple[str, str]]:
    if len(value) > most:
        yield name, f"has {len(value)} characters; at most {most} are allowed"


def _raise(wrong: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> None:
    violations = [Violation(field=name, description=text) for name, text in wrong]
    if violations:
        raise Invalid(violations)


def _fingerprint(body: Mapping[str, object]) -> str:
    return blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()
