"""Jobs: start, show, follow and control them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from blade.v1 import job_service_pb2 as pb
from blade.v1.job_pb2 import ItemError, Job, JobLimits
from blade_client import errors
from blade_client.calls import Calls, names, new_request_id, pages, timestamp
from blade_client.watching import OnReconnect, watch


class JobCalls:
    """The part of BladeClient that speaks to JobService."""

    _calls: Calls

    def start_query_job(
        self,
        sql: str = "",
        *,
        data_type: str = "",
        source: str = "",
        batch_size: int | None = None,
        workers: int | None = None,
        items_per_second: float | None = None,
        max_errors: int | None = None,
        max_error_share: float | None = None,
        metadata: Mapping[str, str] | None = None,
        classification: str = "",
        item_id: str = "",
        last_modified: str | None = None,
        skip_existing: bool = False,
        destination: str = "",
        request_id: str | None = None,
    ) -> Job:
        """Starts a job and returns it at once, PENDING; follow it with watch_job or wait.

        Args:
            sql: One SELECT. Default: every row of the source's table.
            data_type: Data type of the source. Default: the source whose table the SQL reads.
            source: Name of the source. Default: the one source of that data type.
            batch_size: Items in one upload batch, 1 to 1000. Default: 100.
            workers: Upload workers, 1 to 64. Default: the server's.
            items_per_second: Default: no limit but the source's.
            max_errors: The job fails once more items than this have failed. Default: no limit.
            max_error_share: The same as a share of at least 100 processed items. Default: no limit.
            metadata: Pairs added to the metadata of every item.
            classification: Classification of all items in place of the mapping's.
            item_id: Template of the item ids over the columns of the result, in place of the mapping's.
            last_modified: Column of the result with the time of the last change, in place of the mapping's; `""`: items
                have none. Default: the mapping's, and with an `item_id` none where the result lacks that column.
            skip_existing: Leave out items that the catalog has.
            destination: Name of the destination. Default: the source's.
            request_id: Makes the call repeatable. Default: a new one, so that a retry of this call starts one job.

        Raises:
            Invalid: The SQL is not exactly one SELECT, or a field is out of range.
            NotFound, Precondition, QuotaExceeded: No such source; it is disabled; too many jobs.
        """
        request = pb.StartQueryJobRequest(
            sql=sql,
            data_type=data_type,
            source=source,
            batch_size=batch_size,
            workers=workers,
            items_per_second=items_per_second,
            max_errors=max_errors,
            max_error_share=max_error_share,
            metadata=dict(metadata or {}),
            classification=classification,
            item_id=item_id,
            last_modified=last_modified,
            skip_existing=skip_existing,
            destination=destination,
            request_id=request_id or new_request_id(),
        )
        return self._calls.unary(lambda s: s.job.StartQueryJob, request, repeatable=True).job

    def clone_job(self, job_id: str, *, request_id: str | None = None) -> Job:
        """Starts a job that asks for what another one asked for, and returns it, PENDING.

        Jobs of syncs are started by their syncs. Raises NotFound, Precondition, and as start_query_job.
        """
        job = self.get_job(job_id)
        if job.kind != Job.QUERY:
            raise errors.Precondition(
                f"Job {job_id} is one of the sync {job.sync}, not one over a query: run the sync."
            )
        if job.redacted:
            raise errors.NotAllowed(f"Job {job_id} shows you no SQL: to copy it takes the role READER on its source.")
        if job.spec.min_classification and not job.spec.classification:
            raise errors.Precondition(
                f"Job {job_id} makes items of at least {job.spec.min_classification}, which its copy might not: "
                "start it anew, and say the classification."
            )
        spec = job.spec
        limits = spec.limits
        return self.start_query_job(
            spec.sql,
            data_type=spec.data_type,
            source=spec.source,
            batch_size=spec.batch_size or None,
            workers=spec.workers or None,
            items_per_second=limits.items_per_second or None,
            max_errors=limits.max_errors if limits.HasField("max_errors") else None,
            max_error_share=limits.max_error_share if limits.HasField("max_error_share") else None,
            metadata=dict(spec.metadata),
            classification=spec.classification,
            item_id=spec.item_id,
            last_modified=spec.last_modified if spec.HasField("last_modified") else None,
            skip_existing=spec.skip_existing,
            destination=spec.destination,
            request_id=request_id,
        )

    def preview_items(
        self,
        sql: str = "",
        *,
        data_type: str = "",
        source: str = "",
        limit: int | None = None,
        metadata: Mapping[str, str] | None = None,
        classification: str = "",
        item_id: str = "",
        last_modified: str | None = None,
    ) -> pb.PreviewItemsResponse:
        """The first items and rejected rows that a job with this SQL would produce; nothing is written.

        Arguments as start_query_job; `limit` is the number of rows to look at, 1 to 1000, default 10.
        """
        request = pb.PreviewItemsRequest(
            sql=sql,
            data_type=data_type,
            source=source,
            limit=limit,
            metadata=dict(metadata or {}),
            classification=classification,
            item_id=item_id,
            last_modified=last_modified,
        )
        return self._calls.unary(lambda s: s.job.PreviewItems, request, repeatable=True)

    def get_job(self, job_id: str) -> Job:
        """The job as last committed. Raises NotFound."""
        return self._calls.unary(lambda s: s.job.GetJob, pb.GetJobRequest(id=job_id), repeatable=True).job

    def list_jobs(
        self,
        *,
        statuses: Iterable[Job.Status | str] | str = (),
        source: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        with_errors: bool = False,
        sync: str = "",
        kinds: Iterable[Job.Kind | str] | str = (),
        page_size: int | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, fetched page by page as they are read.

        Args:
            statuses: Only these, as values or names (`Job.RUNNING`, `"RUNNING"`). Default: all.
            source: Only jobs of this source.
            created_after: Only jobs created at or after this time; aware.
            created_before: Only jobs created before this time; aware.
            with_errors: Only jobs that are COMPLETED and have failed items.
            sync: Only jobs of this sync.
            kinds: Only these, as values or names. Default: QUERY; with `sync`, all.
            page_size: Jobs a call, 1 to 1000. Default: 50.

        Raises:
            ValueError: A status or kind has no such name, or a time has no zone.
        """
        request = pb.ListJobsRequest(
            page_size=page_size,
            statuses=names(statuses),
            source=source,
            created_after=timestamp(created_after),
            created_before=timestamp(created_before),
            with_errors=with_errors,
            sync=sync,
            kinds=names(kinds),
        )

        def fetch(token: str) -> tuple[Iterable[Job], str]:
            request.page_token = token
            page = self._calls.unary(lambda s: s.job.ListJobs, request, repeatable=True)
            return page.jobs, page.next_page_token

        return pages(fetch)

    def watch_job(
        self,
        job_id: str,
        *,
        min_interval_s: float = 1.0,
        repeats: bool = False,
        timeout_s: float | None = None,
        on_reconnect: OnReconnect | None = None,
    ) -> Iterator[Job]:
        """Snapshots of a job: as it is now, then newer ones, last the final one. Then the iterator ends.

        A change of its status, pending action or wait reason comes at once, progress at most once in `min_interval_s`.
        A lost connection is made again by itself, after a growing pause and as the server asks (RetryInfo), until
        `timeout_s` passes. If not even the first snapshot comes, the client's `attempts` are the limit.

        Args:
            job_id: Id of the job.
            min_interval_s: Shortest time between two snapshots in which only progress differs, 0.2 to 60 seconds.
            repeats: Also yield snapshots that bring nothing new (after 15 s of silence, after a reconnect).
            timeout_s: Longest time to watch. Default: to the end of the job.
            on_reconnect: Called with the error and the seconds until the next attempt.

        Raises:
            NotFound: There is no such job.
            DeadlineExceeded: The job was not final in time; it goes on.
            Unavailable: The server could not be reached.
        """
        return watch(
            self._calls,
            job_id,
            min_interval_s=min_interval_s,
            repeats=repeats,
            timeout_s=timeout_s,
            on_reconnect=on_reconnect,
        )

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> Job:
        """Waits until the job is final, which is known at once, and returns it, COMPLETED, FAILED or CANCELLED.

        Raises as watch_job.
        """
        *_, last = self.watch_job(job_id, timeout_s=timeout_s)
        return last

    def pause(self, job_id: str, reason: str = "") -> Job:
        """Asks the job to stop for now; PAUSED comes when nothing is in flight. Idempotent. Raises Precondition."""
        request = pb.PauseJobRequest(job_id=job_id, reason=reason)
        return self._calls.unary(lambda s: s.job.PauseJob, request, repeatable=True).job

    def resume(self, job_id: str, reason: str = "") -> Job:
        """Lets a paused job go on where it was. Idempotent. Raises Precondition."""
        request = pb.ResumeJobRequest(job_id=job_id, reason=reason)
        return self._calls.unary(lambda s: s.job.ResumeJob, request, repeatable=True).job

    def cancel(self, job_id: str, reason: str = "") -> Job:
        """Ends the job for good; what was uploaded stays. Idempotent. Raises Precondition."""
        request = pb.CancelJobRequest(job_id=job_id, reason=reason)
        return self._calls.unary(lambda s: s.job.CancelJob, request, repeatable=True).job

    def update_limits(
        self,
        job_id: str,
        *,
        items_per_second: float = 0.0,
        max_errors: int | None = None,
        max_error_share: float | None = None,
        reason: str = "",
    ) -> Job:
        """Replaces all limits of a job that is not final: what is left out here is no longer limited."""
        limits = JobLimits(items_per_second=items_per_second, max_errors=max_errors, max_error_share=max_error_share)
        request = pb.UpdateJobLimitsRequest(job_id=job_id, limits=limits, reason=reason)
        return self._calls.unary(lambda s: s.job.UpdateJobLimits, request, repeatable=True).job

    def item_errors(self, job_id: str, *, page_size: int | None = None) -> Iterator[ItemError]:
        """The rows that did not reach the catalog, in the order they were recorded, page by page as read."""

        def fetch(token: str) -> tuple[Iterable[ItemError], str]:
            request = pb.ListItemErrorsRequest(job_id=job_id, page_size=page_size, page_token=token)
            page = self._calls.unary(lambda s: s.job.ListItemErrors, request, repeatable=True)
            return page.errors, page.next_page_token

        return pages(fetch)

    def retry_failed(self, job_id: str, reason: str = "", *, request_id: str | None = None) -> Job:
        """Starts a new job over the failed items of a final one and returns it, PENDING. Raises Precondition."""
        request = pb.RetryFailedItemsRequest(job_id=job_id, request_id=request_id or new_request_id(), reason=reason)
        return self._calls.unary(lambda s: s.job.RetryFailedItems, request, repeatable=True).job
