"""A server that runs jobs in processes of their own: what dies, who goes on, and which limits hold over all of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable

import pytest
from tests.faults.jobs import Run
from tests.faults.servers import Replica
from tests.faults.tables import LONG
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade_server.model import Status, WaitReason


def _worker_of(world: FaultWorld, run: Run) -> int:
    """Process id of the worker that has the job; waits for one."""
    found: list[int] = []

    def has_owner() -> bool:
        owners = world.postgres.ask("SELECT owner FROM job WHERE job_id = %s AND owner IS NOT NULL", run.job_id)
        found[:] = [int(owner.split(":")[1]) for (owner,) in owners]
        return bool(found)

    world.jobs.until(run, lambda _: has_owner(), 20)
    return found[0]


def _kill_worker(world: FaultWorld, pid: int) -> None:
    world.faults.note("kill -9 of a worker", pid)
    os.kill(pid, signal.SIGKILL)


def _told(server: Replica, pattern: str) -> int:
    """How often it has said so since it was started."""
    return len(re.findall(pattern, server.part._output()))


def _workers(server: Replica) -> list[int]:
    """Process ids, as its ready line tells them."""
    found = re.search(r'"workers": \[([\d, ]+)\]', server.part._output())
    assert found is not None
    return [int(pid) for pid in found[1].split(", ")]


def _all_ended(pids: list[int]) -> bool:
    """Whoever ended may still be listed as a zombie, until its new parent looks."""
    command = ["ps", "-o", "stat=", "-p", ",".join(map(str, pids))]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return all(state.startswith("Z") for state in listed.stdout.split())


def test_killed_workers_cost_time_and_nothing_else(world: FaultWorld) -> None:
    (server,) = world.servers.serve("a", workers=2, max_running_jobs=2)
    told_before = _told(server, "is up again")
    runs = [world.jobs.start(items_per_second=400) for _ in range(2)]
    for run in runs:
        world.jobs.until_moving(run)
    assert _worker_of(world, runs[0]) != _worker_of(world, runs[1])  # both had room for both
    for turn in range(1, 4):
        run = runs[turn % 2]
        killed = _worker_of(world, run)
        processed = world.jobs.get(run).processed_items
        _kill_worker(world, killed)
        world.jobs.until(run, lambda job, processed=processed: job.processed_items > processed)
        assert _worker_of(world, run) != killed
        wait_until(lambda turn=turn: _told(server, "is up again") == told_before + turn)
    world.faults.abandon_sessions()
    for run in runs:
        world.jobs.set_rate(run)
    for run in runs:
        world.checks.invariant(run)


def test_no_worker_outlives_a_killed_server_and_its_jobs_are_handed_back(world: FaultWorld) -> None:
    (server,) = world.servers.serve("a", workers=2, lease_s=60, lease_beat_s=1)
    run = world.jobs.start(items_per_second=400)
    world.jobs.until_moving(run)
    workers = _workers(server)
    world.faults.kill(server)
    wait_until(lambda: _all_ended(workers), 15)
    # At once, not after a lease of a minute.
    assert world.postgres.ask("SELECT owner FROM job WHERE job_id = %s", run.job_id) == [(None,)]
    world.servers.ready(server)
    world.jobs.set_rate(run)
    world.checks.invariant(run)


def _sigterm(server: Replica) -> None:
    server.part.send(signal.SIGTERM)


def _ctrl_c(server: Replica) -> None:
    os.killpg(server.part.pid, signal.SIGINT)


@pytest.mark.parametrize("stop", [_sigterm, _ctrl_c])
def test_a_stopping_server_finishes_uploads_and_hands_all_jobs_back(
    world: FaultWorld, stop: Callable[[Replica], None]
) -> None:
    (server,) = world.servers.serve("a", workers=2, lease_s=60, lease_beat_s=1)
    runs = [world.jobs.start(items_per_second=400) for _ in range(3)]
    for run in runs:
        world.jobs.until_moving(run)
    workers = _workers(server)
    world.faults.note(f"{stop.__name__} of a server with workers")
    server.up = False
    stop(server)
    server.wait_ended()
    assert _all_ended(workers)
    for run in runs:
        job = world.jobs.get(run)
        assert (job.status, job.wait_reason) == (Status.RUNNING, WaitReason.QUEUED)
        assert world.sandbox.held(run.data_source) == (
            job.success_count,
            job.success_count,
        )  # what was under way is recorded
    world.servers.ready(server)
    for run in runs:
        world.jobs.set_rate(run)
    for run in runs:
        world.checks.invariant(run)


def test_a_second_signal_ends_workers_at_once_although_uploads_are_under_way(world: FaultWorld) -> None:
    (server,) = world.servers.serve("a", workers=2, drain_timeout_s=100, catalog_timeout_s=100)
    run = world.jobs.start(items_per_second=400)
    world.jobs.until_moving(run)
    world.faults.catalog(hang={"only": "upload"})
    wait_until(lambda: world.sandbox.catalog_status()["injected"].get("hang", 0))
    workers = _workers(server)
    world.faults.note("SIGTERM twice")
    server.up = False
    server.part.send(signal.SIGTERM)
    wait_until(lambda: _told(server, r"worker \d: .*uploads in flight have") == 2, 20, server.output)
    assert not server.ended
    server.part.send(signal.SIGTERM)
    wait_until(lambda: server.ended and _all_ended(workers), 10, server.output)
    server.part.kill()
    world.faults.abandon_sessions()
    world.faults.clear()
    # A successor waits so long as a request to the catalog may take before it looks up what was under way.
    world.servers.serve("a", workers=2, catalog_timeout_s=2)
    world.checks.invariant(run)


def test_a_rate_of_a_source_holds_over_workers(world: FaultWorld) -> None:
    world.servers.serve("a", workers=2)
    source = world.jobs.add_source(LONG, items_per_second=500)
    runs = [world.jobs.start(LONG, source=source, numbers=numbers) for numbers in (range(1500), range(1500, 3000))]
    for run in runs:
        world.jobs.until_moving(run)
    assert _worker_of(world, runs[0]) != _worker_of(world, runs[1])
    began_s, sent = _sent(world, runs)
    now_s, more = began_s, sent
    while more < sent + 1500:
        now_s, more = _sent(world, runs)
    rate = (more - sent) / (now_s - began_s)
    world.scenario.notes.append(f"{rate:.0f} items/s of two jobs in two workers; the source allows 500")
    assert rate < 600
    for run in runs:
        world.checks.invariant(run)


def _sent(world: FaultWorld, runs: list[Run]) -> tuple[float, int]:
    """PostgreSQL's time, and what these jobs have recorded."""
    columns = "extract(epoch FROM clock_timestamp())::float8, sum(success_count)::int"
    query = f"SELECT {columns} FROM job WHERE job_id = ANY(%s)"
    ((now_s, count),) = world.postgres.ask(query, [run.job_id for run in runs])
    return now_s, count


def test_a_number_of_jobs_of_a_source_holds_over_workers(world: FaultWorld) -> None:
    world.servers.serve("a", workers=2)
    source = world.jobs.add_source(max_running_jobs=1)
    runs = [world.jobs.start(source=source, numbers=numbers) for numbers in (range(1500), range(1500, 3000))]
    for run in runs:
        world.checks.invariant(run)
    first, second = sorted((world.jobs.get(run) for run in runs), key=lambda job: job.start_time)
    assert second.start_time >= first.end_time


def test_one_workers_429_slows_all_of_them_down(world: FaultWorld) -> None:
    world.servers.serve("a", workers=2)
    runs = [world.jobs.start(items_per_second=400) for _ in range(2)]
    for run in runs:
        world.jobs.until_moving(run)
    assert _worker_of(world, runs[0]) != _worker_of(world, runs[1])
    world.faults.catalog(status={"code": 429, "retry_after": 4, "count": 1, "only": "upload"})
    for run in runs:
        world.jobs.until(run, lambda job: job.wait_reason is WaitReason.CATALOG_THROTTLED, 4)
    for run in runs:
        world.jobs.set_rate(run)
    for run in runs:
        world.checks.invariant(run)
