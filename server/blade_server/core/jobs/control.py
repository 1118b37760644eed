"""What callers do to a job: pause, resume, cancel, new limits."""

from __future__ import annotations

import time
from collections.abc import Iterator

from blade_server.core.checks import check_reason, raise_for
from blade_server.core.jobs.checks import check_limits, given
from blade_server.model import Action, Job, JobLimits
from blade_server.model.access import Caller
from blade_server.storage.jobs.control import JobControl


class ControlJobs:
    """Thread-safe; each call is one short transaction. Raises what the storage raises."""

    def __init__(self, control: JobControl, *, lease_s: float) -> None:
        """`lease_s`: how long a server may be silent before its jobs are another's."""
        self._control = control
        self._lease_s = lease_s

    def pause(self, job_id: str, *, by: Caller, reason: str = "") -> Job:
        """Asks for a pause. Raises NotFound; Precondition if the job is PENDING or final."""
        raise_for(check_reason(reason))
        return self._control.pause(given(job_id), by=by, reason=reason)

    def resume(self, job_id: str, *, by: Caller, reason: str = "") -> Job:
        """Lets the job go on. Raises NotFound; Precondition if the job is PENDING, final or being cancelled."""
        raise_for(check_reason(reason))
        return self._control.resume(given(job_id), by=by, reason=reason)

    def cancel(self, job_id: str, *, by: Caller, reason: str = "") -> Job:
        """Asks for the end. Raises NotFound; Precondition if the job ended otherwise. See `cancelling`."""
        raise_for(check_reason(reason))
        return self._control.cancel(given(job_id), by=by, reason=reason)

    def cancelling(self, job_id: str, *, by: Caller) -> Iterator[float]:
        """Looks until no upload of a job can start any more: its server has stopped, or its lease is over.

        Yields the seconds to wait before each further look; whoever iterates waits them in whatever way he can. Ends
        after a lease at most.
        """
        deadline = time.monotonic() + self._lease_s + 1.0
        pause_s = 0.01
        while time.monotonic() < deadline:
            job = self._control.cancel_abandoned(job_id, by=by)
            if job.status.final or job.pending_action is not Action.CANCEL:
                return
            yield pause_s
            pause_s = min(0.2, pause_s * 1.5)

    def update_limits(self, job_id: str, limits: JobLimits, *, by: Caller, reason: str = "") -> Job:
        """Replaces the limits. Raises NotFound, Invalid; Precondition if the job is final."""
        rate = limits.items_per_second or None
        limited = check_limits(rate, limits.max_errors, limits.max_error_share, prefix="limits.")
        raise_for([*check_reason(reason), *limited])
        return self._control.set_limits(given(job_id), limits, by=by, reason=reason)
