"""PostgreSQL is put back to an older state: what was sent since is in no ledger, and still nothing is sent twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.jobs import Run
from tests.faults.tables import LONG
from tests.faults.world import FaultWorld

from blade_server.model import Status


def _by_pg_dump(world: FaultWorld, folder: Path) -> Callable[[], None]:
    """A backup; gives the way back to it."""
    world.postgres.dump(folder / "backup")
    return lambda: world.postgres.restore(folder / "backup")


def _by_a_snapshot(world: FaultWorld, folder: Path) -> Callable[[], None]:
    world.postgres.snapshot(folder / "backup")
    return lambda: world.postgres.put_back(folder / "backup")


@pytest.mark.parametrize("servers", ["that run", "that were killed", "that were stopped"])
@pytest.mark.parametrize("backup", [_by_pg_dump, _by_a_snapshot], ids=["a dump", "a snapshot"])
def test_an_older_backup_is_restored_under_servers(
    world: FaultWorld, tmp_path: Path, backup: Callable[[FaultWorld, Path], Callable[[], None]], servers: str
) -> None:
    replicas = world.servers.serve("a", "b")
    runs = [world.jobs.start(LONG, items_per_second=4000), world.jobs.start(items_per_second=1500)]
    for run in runs:
        world.jobs.until_moving(run)
    put_back = backup(world, tmp_path)
    world.jobs.until_moving(runs[0], 0.5)
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
    replicas = world.servers.serve("a", "b", data_dir=tmp_path / "one")
    run = world.jobs.start(LONG, items_per_second=4000)
    world.jobs.until_moving(run)
    put_back = _by_pg_dump(world, tmp_path)
    world.jobs.until_moving(run, 0.4)
    run.watcher.stop()
    for replica in replicas:
        world.faults.kill(replica)
    world.faults.note("an older backup restored")
    put_back()
    world.servers.migrate("--restored")
    world.servers.serve("a", "b", data_dir=tmp_path / "another")
    _finish(world, [run])


def _finish(world: FaultWorld, runs: list[Run]) -> None:
    for run in runs:
        # It went back, which nobody may see in any other way.
        follower = world.jobs.follow(run.job_id, run.table, run.data_type, run.numbers)
        world.jobs.set_rate(follower)
        world.checks.invariant(follower)
        assert world.jobs.get(follower).status is Status.COMPLETED
