"""Somebody who watches a job from start to end, over whichever server answers, and believes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from blade.v1.job_pb2 import Job
from blade_client import BladeClient
from blade_client.errors import BladeClientError

_COUNTERS = ("revision", "success_count", "error_count", "skipped_count", "processed_items", "bytes_uploaded")
_NEXT = {
    Job.PENDING: {Job.PENDING, Job.RUNNING, Job.PAUSED, Job.CANCELLED, Job.FAILED, Job.COMPLETED},
    Job.RUNNING: {Job.RUNNING, Job.PAUSED, Job.CANCELLED, Job.FAILED, Job.COMPLETED},
    Job.PAUSED: {Job.RUNNING, Job.PAUSED, Job.CANCELLED, Job.FAILED, Job.COMPLETED},
}
"""Which status may be seen after which: snapshots leave out what comes between."""


class Watcher:
    """Watches one job with WatchJob, going to another server when one is lost. `problems` is what went back."""

    def __init__(self, job_id: str, targets: Callable[[], Sequence[str]]) -> None:
        self.job_id = job_id
        self.problems: list[str] = []
        self.snapshots = 0
        self.wait_reasons: set[int] = set()
        self._targets = targets
        self._last: Job | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {job_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is watched any more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        turn = 0
        while not self._stopping.is_set():
            targets = self._targets()
            turn += 1
            if targets and self._watch(targets[turn % len(targets)]):
                return
            self._stopping.wait(0.1)

    def _watch(self, target: str) -> bool:
        """True once the job was seen in a final status."""
        try:
            with BladeClient(target, attempts=1) as client:
                for job in client.watch_job(self.job_id, min_interval_s=0.2, timeout_s=4):
                    self._see(job)
                    if self._stopping.is_set() or job.status not in _NEXT:
                        return True
        except BladeClientError:
            pass  # that server is gone, or nothing happened for a while: ask another one
        return False

    def _see(self, job: Job) -> None:
        self.snapshots += 1
        if job.wait_reason:
            self.wait_reasons.add(job.wait_reason)
        if job.processed_items != job.success_count + job.error_count + job.skipped_count:
            self.problems.append(f"{job.processed_items} processed is not the sum of the three counters")
        last, self._last = self._last, job
        if last is None:
            return
        for name in _COUNTERS:
            before, now = getattr(last, name), getattr(job, name)
            if now < before:
                self.problems.append(f"{name} went back from {before} to {now} at revision {job.revision}")
        if last.status in _NEXT and job.status not in _NEXT[last.status]:
            self.problems.append(f"{Job.Status.Name(last.status)} became {Job.Status.Name(job.status)}")
        if last.status not in _NEXT and job.status != last.status:
            self.problems.append(f"the final {Job.Status.Name(last.status)} was left")
