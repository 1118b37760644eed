"""PostgreSQL is put back to an older state: what was sent since is in no ledger, and still nothing is sent twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.jobs import Run
from tests.faults.tables import SHORT
from tests.faults.world import FaultWorld

from blade_server.model import Status

BATCH = 10
"""Small, so that most of what is sent after a backup was not yet written down in it."""


def _by_pg_dump(world: FaultWorld, folder: Path) -> Callable[[], None]:
    """A backup; gives the way back to it."""
    world.postgres.dump(folder / "backup")
    return lambda: world.postgres.restore(folder / "backup")


def _by_a_snapshot(world: FaultWorld, folder: Path) -> Callable[[], None]:
    world.postgres.snapshot(folder / "backup")
    return lambda: world.postgres.put_back(folder / "backup")


@pytest.mark.parametrize(
    ("backup", "servers"),
    [
        pytest.param(_by_pg_dump, "that run", id="a_dump-they_run"),
        pytest.param(_by_pg_dump, "that were killed", id="a_dump-they_were_killed"),
        pytest.param(_by_a_snapshot, "that run", id="a_snapshot-they_run"),
        pytest.param(_by_a_snapshot, "that were stopped", id="a_snapshot-they_were_stopped"),
    ],
)
def test_an_older_backup_is_restored_under_servers(
    world: FaultWorld, tmp_path: Path, backup: Callable[[FaultWorld, Path], Callable[[], None]], servers: str
) -> None:
    replicas = world.servers.serve("a", "b")
    runs = [
        world.jobs.start(batch_size=BATCH, items_per_second=500),
        world.jobs.start(SHORT, batch_size=BATCH, items_per_second=200),
    ]
    for run in runs:
        world.jobs.until_moving(run)
    put_back = backup(world, tmp_path)
    _work_on(world, runs[0])
    world.jobs.set_rate(runs[1])
    world.jobs.until_ended(runs[1])
    for run in runs:
        run.watcher.stop()
    for replica in replicas:
        if servers == "that were killed":
            world.faults.kill(replica)
        elif servers == "that were stopped":
            world.faults.terminate(replica)
            replica.wait_ended()
    world.faults.note("an older backup restored")
    put_back()
    for replica in replicas:
        world.servers.ready(replica)
    _finish(world, runs)


def test_an_operator_declares_it_where_no_server_can_know(world: FaultWorld, tmp_path: Path) -> None:
    """Servers without a disk of their own, all started anew."""
    (replica,) = world.servers.serve("a", data_dir=tmp_path / "one")
    run = world.jobs.start(batch_size=BATCH, items_per_second=500)
    world.jobs.until_moving(run)
    put_back = _by_pg_dump(world, tmp_path)
    _work_on(world, run)
    run.watcher.stop()
    world.faults.kill(replica)
    world.faults.note("an older backup restored")
    put_back()
    world.servers.migrate("--restored")
    world.servers.serve("a", data_dir=tmp_path / "another")
    _finish(world, [run])


def _work_on(world: FaultWorld, run: Run, items: int = 500) -> None:
    """Returns once so many more items are recorded."""
    processed = world.jobs.get(run).processed_items
    world.jobs.until(run, lambda job: job.processed_items > processed + items)


def _finish(world: FaultWorld, runs: list[Run]) -> None:
    for run in runs:
        # It went back, which nobody may see in any other way.
        follower = world.jobs.follow(run.job_id, run.table, run.data_type, run.numbers)
        world.jobs.set_rate(follower)
        world.checks.invariant(follower)
        assert world.jobs.get(follower).status is Status.COMPLETED
