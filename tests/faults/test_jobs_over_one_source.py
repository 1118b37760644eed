"""Two jobs that bring the same rows into a catalog that keeps every copy: each sends every row once, and no more."""

from __future__ import annotations

import pytest
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade_server.model import Status


@pytest.mark.parametrize("how", ["kill -9", "SIGTERM while PostgreSQL is frozen"])
def test_a_job_does_not_send_again_what_another_has_sent_since(world: FaultWorld, how: str) -> None:
    """The first has sent what it could not record; of all that the catalog then has newer copies, of the second."""
    world.servers.serve("a", "b")
    first = world.jobs.start()
    with world.postgres.gate(first.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        second = world.jobs.start(source=first.data_type)
        world.jobs.until_ended(second)
        sent_twice = world.sandbox.held(first.data_source)[1] - 3000
        owner = world.jobs.owner(first)
        if how == "kill -9":
            world.faults.kill(owner)
        else:
            with world.postgres.frozen():
                world.faults.terminate(owner)
                wait_until(lambda: owner.ended, 60)
            owner.part.kill()
            world.faults.abandon_sessions()
        world.servers.restart(owner)
        gate.open()
    done = world.jobs.until_ended(first)
    assert (done.status, done.success_count, done.error_count) == (Status.COMPLETED, 3000, 0)
    copies = [item["copies"] for item in world.sandbox.items(first.data_source)]
    world.scenario.items += len(copies)
    assert sent_twice > 0
    assert (len(copies), set(copies) - {1, 2}) == (3000, set())
