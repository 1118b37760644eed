"""Following one job over as many streams as it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from google.protobuf.duration_pb2 import Duration

from blade.v1.job_pb2 import Job
from blade.v1.job_service_pb2 import WatchJobRequest
from blade_client import errors
from blade_client.calls import Calls
from blade_client.retrying import Deadline, Retry, is_transient

FINAL_STATUSES = frozenset({Job.COMPLETED, Job.FAILED, Job.CANCELLED})

OnReconnect = Callable[[errors.BladeClientError, float], object]


def watch(
    calls: Calls,
    job_id: str,
    *,
    min_interval_s: float,
    repeats: bool,
    timeout_s: float | None,
    on_reconnect: OnReconnect | None,
) -> Iterator[Job]:
    """See BladeClient.watch_job.

    Until the first snapshot the attempts are bounded, so that a wrong address is told soon. After it a lost server is
    waited for up to the deadline: the job is durable and goes on without this watcher.
    """
    interval = Duration()
    interval.FromNanoseconds(round(min_interval_s * 1e9))
    request = WatchJobRequest(job_id=job_id, min_interval=interval)
    deadline = Deadline(timeout_s)
    retry = Retry(attempts=calls.attempts, deadline=deadline)
    latest: Job | None = None
    while True:
        try:
            with closing(_snapshots(calls, request, deadline)) as snapshots:
                for job in snapshots:
                    if latest is None:
                        retry = Retry(attempts=None, deadline=deadline, transient=_passes)
                    retry.reset()
                    final = job.status in FINAL_STATUSES
                    fresh = latest is None or job.revision > latest.revision
                    latest = job if fresh else latest
                    if fresh or repeats or final:
                        yield job
                    if final:
                        return
        except errors.DeadlineExceeded as error:
            raise _too_late(error, job_id, latest, timeout_s) from error
        except errors.BladeClientError as error:
            wait_s = retry.wait_s(error)
            if wait_s is None:
                raise calls.connection.explained(error) from error.__cause__
            if on_reconnect is not None:
                on_reconnect(error, wait_s)
            time.sleep(wait_s)


def _snapshots(calls: Calls, request: WatchJobRequest, deadline: Deadline) -> Generator[Job, None, None]:
    """The snapshots of one stream. The server ends it after the final one; any other end is a broken connection."""
    answers = calls.stream_once(lambda s: s.job.WatchJob, request, timeout_s=deadline.remaining_s())
    with closing(answers):
        for answer in answers:
            yield answer.job
    raise errors.Unreachable(f"The stream of {request.job_id} ended before the job did.")


def _passes(error: errors.BladeClientError) -> bool:
    """True for what a watcher that was let in once comes back after.

    A lost server, one too full to take it back yet, and one that its next token will be good for.
    """
    says_when = isinstance(error, (errors.QuotaExceeded, errors.NotSignedIn)) and error.retry_after_s is not None
    return says_when or is_transient(error)


def _too_late(
    error: errors.DeadlineExceeded, job_id: str, latest: Job | None, timeout_s: float | None
) -> errors.DeadlineExceeded:
    if latest is None:
        return error
    status = Job.Status.Name(latest.status)
    return errors.DeadlineExceeded(
        f"{job_id} is still {status} after {timeout_s:g} s ({latest.processed_items:,} items); it goes on.",
        reason=error.reason,
        code=error.code,
    )
