"""Several servers on one PostgreSQL: who takes over, when, and who must not go on."""

from __future__ import annotations

import pytest
from tests.faults.tables import LONG
from tests.faults.world import LEASE_S, Run, World

from blade.v1.job_pb2 import Job
from blade_server.model import Status


def _claimed_at(world: World, run: Run, epoch: int) -> float:
    """When the job was claimed for the n-th time, in seconds of PostgreSQL's clock."""
    world.wait(lambda: world.claimed_by(run, epoch), 20)
    query = "SELECT extract(epoch FROM time)::float8 FROM job_event WHERE job_id = %s AND kind = 'CLAIMED' ORDER BY seq"
    return float(world.postgres.ask(query, run.job_id)[epoch - 1][0])


def _now(world: World) -> float:
    return float(world.postgres.ask("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])


def test_another_server_takes_over_within_lease_and_one_second(world: World) -> None:
    world.serve("a", "b")
    run = world.start(items_per_second=400)
    took = []
    for epoch in (2, 3, 4):
        world.until_moving(run)
        owner = world.owner(run)
        processed = world.job(run).processed_items
        killed_at = _now(world)
        world.kill(owner)
        world.restart(owner)
        took.append(_claimed_at(world, run, epoch) - killed_at)
        world.until(run, lambda job, processed=processed: job.processed_items > processed)
        owner.wait_ready()
    world.set_rate(run)
    world.check(run)
    world.scenario.notes.append(f"taken over after {', '.join(f'{s:.2f}' for s in took)} s; the lease is {LEASE_S} s")
    assert max(took) < LEASE_S + 1.0


def test_a_stopping_server_hands_over_at_once(world: World) -> None:
    world.serve("a", "b", lease_s=30, lease_beat_s=1)
    run = world.start(items_per_second=400)
    world.until_moving(run)
    owner = world.owner(run)
    stopped_at = _now(world)
    world.terminate(owner)
    took = _claimed_at(world, run, 2) - stopped_at
    world.ended(owner)
    world.set_rate(run)
    world.check(run)
    world.scenario.notes.append(f"handed over after {took:.2f} s; the lease is 30 s")
    assert took < 3.0


@pytest.mark.parametrize("how", ["it_stops", "its_pause_lasts_too_long"])
def test_a_job_is_handed_over_with_replies_lost_and_look_ups_failing(world: World, how: str) -> None:
    """What may be stored is looked up by the next server, too."""
    world.serve("a", "b", pause_hold_s=0.5)
    run = world.start(items_per_second=2000)
    world.until_moving(run)
    owner = world.owner(run)
    world.catalog_faults(drop_reply={"only": "upload"}, status={"code": 500, "only": "lookup"})
    world.wait(lambda: world.catalog_status()["injected"].get("status", 0) >= 4)
    if how == "it_stops":
        world.terminate(owner)
        world.ended(owner)
    else:
        with world.client() as client:
            client.pause(run.job_id)
        world.until(run, lambda job: job.status is Status.PAUSED)
        world.wait(lambda: not world.owned_by(owner))
    world.clear_faults()
    with world.client() as client:
        client.resume(run.job_id)
    world.set_rate(run)
    world.check(run)


def test_a_stopped_and_woken_server_is_fenced(world: World) -> None:
    world.serve("a", "b")
    run = world.start(items_per_second=1000)
    world.until_moving(run)
    zombie = world.owner(run)
    world.freeze(zombie)
    _claimed_at(world, run, 2)
    processed = world.job(run).processed_items
    world.until(run, lambda job: job.processed_items > processed)
    with world.client() as client:
        client.pause(run.job_id)
    world.until(run, lambda job: job.status is Status.PAUSED)
    uploads = world.catalog_status()["uploads"]
    world.thaw(zombie)
    with world.client(zombie) as client:  # it serves calls as before
        assert client.get_job(run.job_id).status == Job.PAUSED
    # Its beat tells it that the job is another's; then it closes its session at the warehouse.
    world.wait(lambda: world.warehouse_status()["open_sessions"] == 1)
    assert world.catalog_status()["uploads"] == uploads
    with world.client() as client:
        client.resume(run.job_id)
    world.set_rate(run)
    world.check(run)


def test_a_server_frozen_in_a_transaction_blocks_nobody(world: World) -> None:
    """It holds the lock on the job's row, and its connection looks alive."""
    world.serve("a", "b")
    run = world.start(items_per_second=1000)
    with world.postgres.gate(run.job_id, "NEW.success_count > OLD.success_count") as gate:
        gate.wait_reached()
        zombie = world.owner(run)
        world.freeze(zombie)
        frozen_at = _now(world)
        gate.open()
    took = _claimed_at(world, run, 2) - frozen_at
    world.scenario.notes.append(f"taken over after {took:.2f} s; the lease is {LEASE_S} s")
    world.thaw(zombie)
    world.check(run)
    assert took < 10


def test_two_and_three_servers_fight_over_jobs(world: World) -> None:
    replicas = world.serve("a", "b", "c", max_running_jobs=2)
    runs = [world.start(items_per_second=600) for _ in range(4)]
    for turn, replica in enumerate([*replicas, *replicas]):
        world.until_moving(runs[turn % 4])
        if turn % 2:
            world.freeze(replica)
            world.wait(lambda replica=replica: not world.owned_by(replica), 10)
            world.thaw(replica)
        else:
            world.kill(replica)
            world.restart(replica)
            replica.wait_ready()
    for run in runs:
        world.set_rate(run)
    for run in runs:
        world.check(run)


def test_a_lost_notify_connection_leaves_watch_pause_and_cancel_working(world: World) -> None:
    first, second = world.serve("a", "b")
    run = world.start(LONG, items_per_second=500)
    world.until_moving(run)
    owner = world.owner(run)
    other = second if owner is first else first
    with world.client(other) as client:
        for ask, status in ((client.pause, Job.PAUSED), (client.resume, Job.RUNNING), (client.cancel, Job.CANCELLED)):
            world.drop_listeners()
            ask(run.job_id, "while nobody hears NOTIFY")
            for job in client.watch_job(run.job_id, min_interval_s=0.2, timeout_s=20):
                if job.status == status:
                    break
    world.check(run, Job.CANCELLED)
