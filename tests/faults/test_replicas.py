"""Several servers on one PostgreSQL: who takes over, when, and who must not go on."""

from __future__ import annotations

import pytest
from tests.faults.jobs import Run
from tests.faults.servers import LEASE_S
from tests.faults.tables import LONG
from tests.faults.world import FaultWorld
from tests.support.waiting import wait_until

from blade.v1.job_pb2 import Job
from blade_server.model import Status


def _claimed_at(world: FaultWorld, run: Run, epoch: int) -> float:
    """When the job was claimed for the n-th time, in seconds of PostgreSQL's clock."""
    wait_until(lambda: world.jobs.claimed_by(run, epoch), 20)
    query = "SELECT extract(epoch FROM time)::float8 FROM job_event WHERE job_id = %s AND kind = 'CLAIMED' ORDER BY seq"
    return float(world.postgres.ask(query, run.job_id)[epoch - 1][0])


def _now(world: FaultWorld) -> float:
    return float(world.postgres.ask("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])


def test_another_server_takes_over_within_lease_and_one_second(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    run = world.jobs.start(items_per_second=400)
    took = []
    for epoch in (2, 3, 4):
        world.jobs.until_moving(run)
        owner = world.jobs.owner(run)
        processed = world.jobs.get(run).processed_items
        killed_at = _now(world)
        world.faults.kill(owner)
        world.servers.restart(owner)
        took.append(_claimed_at(world, run, epoch) - killed_at)
        world.jobs.until(run, lambda job, processed=processed: job.processed_items > processed)
        owner.wait_ready()
    world.jobs.set_rate(run)
    world.checks.invariant(run)
    world.scenario.notes.append(f"taken over after {', '.join(f'{s:.2f}' for s in took)} s; the lease is {LEASE_S} s")
    assert max(took) < LEASE_S + 1.0


def test_a_stopping_server_hands_over_at_once(world: FaultWorld) -> None:
    world.servers.serve("a", "b", lease_s=30, lease_beat_s=1)
    run = world.jobs.start(items_per_second=400)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    stopped_at = _now(world)
    world.faults.terminate(owner)
    took = _claimed_at(world, run, 2) - stopped_at
    owner.wait_ended()
    world.jobs.set_rate(run)
    world.checks.invariant(run)
    world.scenario.notes.append(f"handed over after {took:.2f} s; the lease is 30 s")
    assert took < 3.0


@pytest.mark.parametrize("how", ["it_stops", "its_pause_lasts_too_long"])
def test_a_job_is_handed_over_with_replies_lost_and_look_ups_failing(world: FaultWorld, how: str) -> None:
    """What may be stored is looked up by the next server, too."""
    world.servers.serve("a", "b", pause_hold_s=0.5)
    run = world.jobs.start(items_per_second=2000)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    world.faults.catalog(drop_reply={"only": "upload"}, status={"code": 500, "only": "lookup"})
    wait_until(lambda: world.sandbox.catalog_status()["injected"].get("status", 0) >= 4)
    if how == "it_stops":
        world.faults.terminate(owner)
        owner.wait_ended()
    else:
        with world.servers.client() as client:
            client.pause(run.job_id)
        world.jobs.until(run, lambda job: job.status is Status.PAUSED)
        wait_until(lambda: not world.jobs.owned_by(owner))
    world.faults.clear()
    with world.servers.client() as client:
        client.resume(run.job_id)
    world.jobs.set_rate(run)
    world.checks.invariant(run)


def test_a_stopped_and_woken_server_is_fenced(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    run = world.jobs.start(items_per_second=1000)
    world.jobs.until_moving(run)
    zombie = world.jobs.owner(run)
    world.faults.freeze(zombie)
    _claimed_at(world, run, 2)
    processed = world.jobs.get(run).processed_items
    world.jobs.until(run, lambda job: job.processed_items > processed)
    with world.servers.client() as client:
        client.pause(run.job_id)
    world.jobs.until(run, lambda job: job.status is Status.PAUSED)
    uploads = world.sandbox.catalog_status()["uploads"]
    zombie.thaw()
    with world.servers.client(zombie) as client:  # it serves calls as before
        assert client.get_job(run.job_id).status == Job.PAUSED
    # Its beat tells it that the job is another's; then it closes its session at the warehouse.
    wait_until(lambda: world.sandbox.warehouse_status()["open_sessions"] == 1)
    assert world.sandbox.catalog_status()["uploads"] == uploads
    with world.servers.client() as client:
        client.resume(run.job_id)
    world.jobs.set_rate(run)
    world.checks.invariant(run)


def test_a_server_frozen_in_a_transaction_blocks_nobody(world: FaultWorld) -> None:
    """It holds the lock on the job's row, and its connection looks alive."""
    world.servers.serve("a", "b")
    run = world.jobs.start(items_per_second=1000)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        zombie = world.jobs.owner(run)
        world.faults.freeze(zombie)
        frozen_at = _now(world)
        gate.open()
    took = _claimed_at(world, run, 2) - frozen_at
    world.scenario.notes.append(f"taken over after {took:.2f} s; the lease is {LEASE_S} s")
    zombie.thaw()
    world.checks.invariant(run)
    assert took < 10


def test_two_and_three_servers_fight_over_jobs(world: FaultWorld) -> None:
    replicas = world.servers.serve("a", "b", "c", max_running_jobs=2)
    runs = [world.jobs.start(items_per_second=600) for _ in range(4)]
    for turn, replica in enumerate([*replicas, *replicas]):
        world.jobs.until_moving(runs[turn % 4])
        if turn % 2:
            world.faults.freeze(replica)
            wait_until(lambda replica=replica: not world.jobs.owned_by(replica), 10)
            replica.thaw()
        else:
            world.faults.kill(replica)
            world.servers.restart(replica)
            replica.wait_ready()
    for run in runs:
        world.jobs.set_rate(run)
    for run in runs:
        world.checks.invariant(run)


def test_a_lost_notify_connection_leaves_watch_pause_and_cancel_working(world: FaultWorld) -> None:
    first, second = world.servers.serve("a", "b")
    run = world.jobs.start(LONG, items_per_second=500)
    world.jobs.until_moving(run)
    owner = world.jobs.owner(run)
    other = second if owner is first else first
    with world.servers.client(other) as client:
        for ask, status in ((client.pause, Job.PAUSED), (client.resume, Job.RUNNING), (client.cancel, Job.CANCELLED)):
            world.faults.drop_listeners()
            ask(run.job_id, "while nobody hears NOTIFY")
            for job in client.watch_job(run.job_id, min_interval_s=0.2, timeout_s=20):
                if job.status == status:
                    break
    world.checks.invariant(run, Job.CANCELLED)
