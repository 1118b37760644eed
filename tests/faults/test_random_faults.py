"""At least 100 random kills of everything, while jobs run one after the other. BLADE_FAULT_SEED repeats a run."""

from __future__ import annotations

import os
import random
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.faults.jobs import Run
from tests.faults.servers import Replica
from tests.faults.tables import DUPLICATES, LONG, STEPS, WITHOUT_IDS
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job
from blade_client.errors import BladeClientError
from blade_server.model import Status
from blade_server.storage.engine.leases import MAX_DEATHS

KILLS = 100
JOBS_AT_ONCE = 4
_NO_KILLS = ("catalog: ", "warehouse: ", "NOTIFY", "connections")


class Storm:
    """One random fault after the other; jobs are started so that some always run."""

    def __init__(self, world: FaultWorld, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._replicas = world.servers.serve("a", "b", "c", retry_base_s=0.1, retry_attempts=10, max_running_jobs=3)
        self._sources = deque(
            (table, world.jobs.add_source(table)) for _ in range(40) for table in (STEPS, DUPLICATES, LONG, WITHOUT_IDS)
        )
        self.runs: list[Run] = []
        self._faults: list[tuple[int, Callable[[], None]]] = [
            (36, self._kill_server),
            (14, self._terminate_server),
            (14, self._freeze_server),
            (14, self._kill_postgres),
            (5, self._kill_warehouse),
            (5, self._kill_catalog),
            (12, self._disturb_catalog),
            (8, self._disturb_warehouse),
            (4, self._drop_listeners),
            (4, self._world.faults.break_connections),
            (6, self._pause),
        ]

    @property
    def kills(self) -> int:
        """Faults so far that ended or stopped a process."""
        faults = self._world.scenario.faults
        return sum(count for name, count in faults.items() if not name.startswith(_NO_KILLS))

    def rage(self) -> None:
        """Until there were enough kills."""
        weights, faults = zip(*[(weight, fault) for weight, fault in self._faults], strict=True)
        while self.kills < KILLS:
            self._keep_busy()
            self._chance.choices(faults, weights)[0]()

    def calm_down(self) -> None:
        """No faults any more, no pause, no limit: all jobs can end."""
        world = self._world
        world.faults.clear()
        for replica in self._replicas:
            world.servers.ready(replica)
        for run in self.runs:
            if not world.jobs.get(run).status.final:
                self._resume(run)
                world.jobs.set_rate(run)

    # ------------------------------------------------------------------------------------------------- jobs

    def _keep_busy(self) -> None:
        """Enough jobs run, and at least one moves, so that the next fault hits something."""
        world = self._world
        still_open = [run for run in self.runs if not world.jobs.get(run).status.final]
        while len(still_open) < JOBS_AT_ONCE and self._sources:
            table, source = self._sources.popleft()
            rate = self._chance.choice([300, 800, 2000])
            batch_size = self._chance.choice([20, 100, 250])
            run = self._insist(table, source=source, items_per_second=rate, batch_size=batch_size)
            self.runs.append(run)
            still_open.append(run)
        wait_until(lambda: self._some_moved(still_open), 60, self._state)
        # A job that kills every server it runs on is given up after MAX_DEATHS; these are not such jobs.
        wait_until(lambda: world.jobs.most_deaths() <= MAX_DEATHS - 3, 90, self._state)

    def _some_moved(self, runs: list[Run]) -> bool:
        self._world.servers.supervise()
        moved = [self._moved(run) for run in runs]  # every one of them is looked at
        return any(moved)

    def _state(self) -> str:
        jobs = [self._world.jobs.get(run) for run in self.runs]
        lines = [
            f"{job.job_id} {job.status} {job.processed_items}/{job.total_items} {job.wait_reason} {job.wait_detail}"
            for job in jobs
            if not job.status.final
        ]
        lines += [f"server {r.name}: up {r.up}, frozen {r.frozen}\n{r.output()[-2500:]}" for r in self._replicas]
        return "\n".join(lines)

    def _moved(self, run: Run) -> bool:
        job = self._world.jobs.get(run)
        before, run.seen = run.seen, job.revision
        if job.status is Status.PAUSED:
            self._resume(run)
        return job.revision > before or job.status.final

    def _insist(self, table: str, **request: Any) -> Run:
        """Starts one job, however often the call must be repeated: its request id says that it is the same."""
        request["request_id"] = request["source"]
        for _ in range(20):
            with suppress(BladeClientError):  # killed a moment ago
                return self._world.jobs.start(table, **request)
        return self._world.jobs.start(table, **request)

    def _resume(self, run: Run) -> None:
        with suppress(BladeClientError), self._world.servers.client() as client:
            client.resume(run.job_id)

    def _pause(self) -> None:
        run = self._chance.choice(self.runs)
        with suppress(BladeClientError), self._world.servers.client() as client:
            client.pause(run.job_id)

    # ------------------------------------------------------------------------------------------------ faults

    def _victim(self) -> Replica:
        """A server that serves; at least one other does, too, or is about to."""
        replica = self._chance.choice(self._replicas)
        self._world.servers.ready(replica)
        return replica

    def _kill_server(self) -> None:
        victim = self._victim()
        self._world.faults.kill(victim)
        self._world.servers.restart(victim)

    def _terminate_server(self) -> None:
        victim = self._victim()
        self._world.faults.terminate(victim)
        victim.wait_ended()
        self._world.servers.restart(victim)

    def _freeze_server(self) -> None:
        """Until its jobs are taken over, or just for a moment."""
        victim = self._victim()
        self._world.faults.freeze(victim)
        if self._chance.random() < 0.6:
            others = [replica for replica in self._replicas if replica is not victim]
            for other in others:
                self._world.servers.ready(other)
            wait_until(lambda: not self._world.jobs.leased_by(victim), 15)
        victim.thaw()

    def _kill_postgres(self) -> None:
        self._world.faults.kill_postgres()

    def _kill_warehouse(self) -> None:
        self._world.faults.kill_warehouse()
        self._world.sandbox.start_missing()

    def _kill_catalog(self) -> None:
        self._world.faults.kill_catalog()
        self._world.sandbox.start_missing()

    def _disturb_catalog(self) -> None:
        count, seed = self._chance.randint(1, 15), self._chance.randrange(1000)
        self._world.faults.catalog(
            **self._chance.choice(
                [
                    {"status": {"code": 500, "count": count, "rate": 0.5, "seed": seed}},
                    {"status": {"code": 503, "count": count}},
                    {"status": {"code": 429, "retry_after": 0.3, "count": 2, "only": "upload"}},
                    {"hang": {"count": 2}},
                    {"drop_reply": {"count": count, "rate": 0.5, "seed": seed}},
                    {"reset_after_body": {"count": count, "rate": 0.5, "seed": seed}},
                    {"latency_ms": self._chance.choice([0, 20, 100])},
                    {"down": {"seconds": self._chance.choice([0.3, 1.5])}},
                ]
            )
        )

    def _disturb_warehouse(self) -> None:
        self._world.faults.warehouse(
            **self._chance.choice(
                [
                    {"expire_sessions": True},
                    {"slow_fetch_ms": self._chance.choice([0, 100, 400])},
                    {"drop_reply": {"count": 1, "call": "FetchResults"}},
                    {"fail_next": {"count": 1, "code": 503, "retry_after": 1}},
                    {"starting": {"seconds": 1}},
                ]
            )
        )

    def _drop_listeners(self) -> None:
        self._world.faults.drop_listeners()


@pytest.mark.timeout(900)
def test_random_faults_cost_nothing(world: FaultWorld) -> None:
    seed = int(os.environ.get("BLADE_FAULT_SEED") or secrets.randbits(32))
    note = f"BLADE_FAULT_SEED={seed}"
    print(note)
    world.scenario.notes.append(note)
    storm = Storm(world, random.Random(seed))
    storm.rage()
    storm.calm_down()
    for run in storm.runs:
        world.checks.invariant(run, Job.COMPLETED, timeout_s=120)
    world.scenario.notes.append(f"{storm.kills} kills, {len(storm.runs)} jobs")
    # Sessions of killed servers are nobody's; the others are gone.
    world.servers.serve("a")
    world.faults.abandon_sessions()
