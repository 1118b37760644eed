"""PostgreSQL in ways that are no crash: frozen, out of space, locked by somebody else's maintenance."""

from __future__ import annotations

import time

import pytest
from tests.faults.servers import LEASE_S
from tests.faults.tables import LONG
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_still, wait_until


@pytest.fixture(autouse=True)
def _two_servers(world: FaultWorld) -> None:
    world.servers.serve("a", "b")


def test_frozen_for_longer_than_the_lease(world: FaultWorld) -> None:
    """Every connection stays open and silent: no call fails, none is answered."""
    run = world.jobs.start(LONG, items_per_second=3000)
    world.jobs.until_moving(run)
    world.scenario.faults["SIGSTOP and SIGCONT of PostgreSQL"] += 1
    with world.postgres.frozen():
        # Leases are over, so nothing is sent.
        wait_still(lambda: world.sandbox.catalog_status()["uploads"], LEASE_S)
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0


@pytest.mark.parametrize(
    "sqlstate",
    ["53100", "53200", "55P03", "57014", "40P01", "40001", "58030"],
    ids=["disk_full", "out_of_memory", "lock_timeout", "statement_timeout", "deadlock", "serialization", "io_error"],
)
def test_every_write_of_a_job_fails_for_a_while_with(world: FaultWorld, sqlstate: str) -> None:
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    world.scenario.faults[f"PostgreSQL: {sqlstate}"] += 1
    with world.postgres.failing(run.job_id, sqlstate) as failed:
        wait_until(lambda: failed() >= 3)
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0


def test_the_table_of_jobs_is_locked_for_longer_than_the_lease(world: FaultWorld) -> None:
    """VACUUM FULL, or a migration of somebody's own."""
    run = world.jobs.start(LONG, items_per_second=3000)
    world.jobs.until_moving(run)
    world.scenario.faults["job table locked"] += 1
    with world.postgres.locked("job"):
        wait_still(lambda: world.sandbox.catalog_status()["uploads"], LEASE_S)
    world.jobs.set_rate(run)
    assert world.checks.invariant(run).error_count == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_server_stops_in_time_while_postgresql_is_frozen(world: FaultWorld, workers: int) -> None:
    """What it runs it cannot hand back: others take it over by its lease."""
    (server,) = world.servers.serve("a", workers=workers, drain_timeout_s=2)
    run = world.jobs.start(items_per_second=500)
    world.jobs.until_moving(run)
    world.scenario.faults["SIGSTOP and SIGCONT of PostgreSQL"] += 1
    with world.postgres.frozen():
        began_s = time.monotonic()
        world.faults.terminate(server)
        server.wait_ended(60)
        took_s = time.monotonic() - began_s
    world.scenario.notes.append(f"ended after {took_s:.1f} s; the drain limit is 2 s")
    world.faults.abandon_sessions()
    world.servers.serve("b")
    world.jobs.set_rate(run)
    world.checks.invariant(run)
    assert took_s < 2 + 5
