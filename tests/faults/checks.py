"""The verdict over a job: the whole invariant (see invariant.py), and that nothing is left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.faults.faults import Faults
from tests.faults.invariant import Audit
from tests.faults.jobs import Jobs, Run
from tests.faults.sandbox import FaultSandbox
from tests.faults.tally import Losses
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job


class Checks:
    """What they find is counted in the scenario of the faults."""

    def __init__(self, jobs: Jobs, sandbox: FaultSandbox, faults: Faults) -> None:
        self._jobs = jobs
        self._sandbox = sandbox
        self._faults = faults

    def invariant(self, run: Run, status: int = Job.COMPLETED, timeout_s: float = 60.0) -> Job:
        """Waits for the end of the job and checks the whole invariant."""
        self._jobs.until_ended(run, timeout_s)
        shown, errors = self._jobs.shown(run)
        assert Job.Status.Name(shown.status) == Job.Status.Name(status), shown
        rows = self._jobs.rows(run)
        audit = Audit(shown, rows, self._items(run), errors)
        losses = audit.losses()
        audit.check_counters()
        run.watcher.stop()
        self._faults.scenario.losses += losses
        self._faults.scenario.items += len(rows)
        problems = audit.problems + run.watcher.problems
        assert not problems, f"{run.job_id}: {'; '.join(problems)}\n{shown}"
        assert losses == Losses()
        return shown

    def union(self, runs: Sequence[Run]) -> None:
        """All jobs of one source together: their rows are in the catalog, each once and right."""
        rows = [row for run in runs for row in self._jobs.rows(run)]
        audit = Audit(Job(status=Job.COMPLETED), rows, self._items(runs[0]), [])
        losses = audit.losses()
        self._faults.scenario.losses += losses
        problems = audit.problems + [problem for run in runs for problem in run.watcher.problems]
        assert not problems, problems

    def _items(self, run: Run) -> list[dict[str, Any]]:
        """What the catalog holds of the job (of all jobs of its source that took the same rows)."""
        items = self._sandbox.items(run.data_source)
        return [item for item in items if run.numbers is None or item["file"]["data"]["number"] in run.numbers]

    def nothing_left(self) -> None:
        """No session at the warehouse but those of killed servers, no statement running."""
        status, faults = self._sandbox.warehouse_status, self._faults

        def settled() -> bool:
            now = status()
            return now["open_sessions"] <= faults.abandoned_sessions and not now["running_operations"]

        wait_until(settled, say=lambda: f"{status()}, {faults.abandoned_sessions} of killed servers")
