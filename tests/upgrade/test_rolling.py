"""A server of 0.2.0 beside one of this tree, on one database: jobs of both go through, each as it is meant."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.upgrade.world import HERE, ROWS, TIMEOUT_S, Replica, UpgradeWorld

from blade.v1.job_pb2 import Job
from blade.v1.sync_pb2 import Sync, SyncSpec

SLOW = 60
"""Items a second of a job that is to be there still."""


def _sources(world: UpgradeWorld, replica: Replica, *data_types: str) -> None:
    for data_type in data_types:
        world.add_source(replica, data_type, data_type)


def test_a_server_of_0_2_goes_on_beside_the_new_one_that_migrates_its_tables(world: UpgradeWorld, old: Path) -> None:
    before = world.serve(old)
    _sources(world, before, "part", "engine", "tail")
    slow = before.client.start_query_job(source="part", items_per_second=SLOW, batch_size=10)
    world.moving(before, slow)
    assert world.revision() == "0002"

    after = world.serve()
    assert world.revision() > "0002"
    owner = world.ask("SELECT owner FROM job WHERE job_id = :id", id=slow.job_id)
    at_work = world.moving(after, slow)
    world.until(before, slow, lambda now: now.success_count > at_work.success_count)
    assert world.ask("SELECT owner FROM job WHERE job_id = :id", id=slow.job_id) == owner, "the old one has it still"

    theirs = before.client.start_query_job(source="engine")
    ours = after.client.start_query_job(source="tail")
    for job in (theirs, ours):
        shown = world.completed(before, job)
        assert world.completed(after, job).success_count == shown.success_count, "both answer"
    before.client.pause(slow.job_id)
    world.until(after, slow, lambda now: now.status == Job.PAUSED)
    after.client.resume(slow.job_id)
    after.client.update_limits(slow.job_id, items_per_second=0)
    world.completed(after, slow)
    world.check_all_once("part", "engine", "tail")
    assert [world.epoch(job) for job in (slow, theirs, ours)] == [1, 1, 1]
    assert "Traceback" not in before.said()


def test_jobs_are_taken_over_in_both_directions(world: UpgradeWorld, old: Path) -> None:
    before = world.serve(old, max_running_jobs=1)
    _sources(world, before, "part", "tail")
    from_old = before.client.start_query_job(source="part", items_per_second=SLOW, batch_size=10)
    world.moving(before, from_old)
    after = world.serve(max_running_jobs=1)
    from_new = after.client.start_query_job(source="tail", items_per_second=SLOW, batch_size=10)
    world.moving(after, from_new)

    world.kill_unanswered(after, from_new)
    before.client.update_limits(from_new.job_id, items_per_second=0)
    before.client.pause(from_old.job_id)  # its place is free then
    world.completed(before, from_new)
    assert world.epoch(from_new) == 2
    before.client.resume(from_old.job_id)
    went_on = before.client.get_job(from_old.job_id).success_count
    world.until(before, from_old, lambda now: now.success_count > went_on)

    world.kill_unanswered(before, from_old)
    again = world.serve()
    again.client.update_limits(from_old.job_id, items_per_second=0)
    world.completed(again, from_old)
    assert world.epoch(from_old) >= 2
    world.check_all_once("part", "tail")


def test_a_job_that_0_2_does_not_know_is_left_alone_by_it(world: UpgradeWorld, old: Path) -> None:
    before = world.serve(old)
    _sources(world, before, "part", "tail", "gear")
    after = world.serve(max_running_jobs=0)
    after.client.syncs.create(Sync(name="gears", spec=SyncSpec(source="gear")))
    plan = after.client.syncs.plan("gears")
    own_ids = after.client.start_query_job(source="tail", item_id="OWN-{number}")
    for _ in range(3):  # each of them is claimed later than the two would be
        plain = after.client.start_query_job(source="part", skip_existing=True)
        world.until(before, plain, lambda now: now.status == Job.COMPLETED)
    waiting = "SELECT status, owner, epoch FROM job WHERE job_id = ANY(:ids)"
    assert world.ask(waiting, ids=[plan.job_id, own_ids.job_id]) == [("PENDING", None, 0)] * 2
    for job in (plan, own_ids):
        assert before.client.get_job(job.job_id).status == Job.PENDING, "the old one shows it"
    assert world.held("gear") == world.held("tail") == {}

    runner = world.serve()
    planned = world.until(runner, plan, lambda now: now.status == Job.COMPLETED)
    world.completed(runner, own_ids)
    assert world.held("gear") == {}, "a plan writes nothing"
    assert planned.kind == Job.PLAN
    assert world.held("tail") == {f"OWN-{number}": 1 for number in range(ROWS)}
    world.check_all_once("part")


def test_0_2_cannot_be_started_again_on_newer_tables_and_its_jobs_go_to_the_others(
    world: UpgradeWorld, old: Path
) -> None:
    before = world.serve(old)
    _sources(world, before, "part")
    job = before.client.start_query_job(source="part", items_per_second=SLOW, batch_size=10)
    world.moving(before, job)
    after = world.serve()
    before.stop()
    command = [str(old), "-m", "blade_server", "serve", "--json"]
    again = subprocess.run(command, env=world.variables(), capture_output=True, text=True, timeout=TIMEOUT_S)
    assert again.returncode == 1
    assert again.stdout == ""
    assert f"Can't locate revision identified by '{world.revision()}'" in again.stderr
    after.client.update_limits(job.job_id, items_per_second=0)
    world.completed(after, job)
    world.check_all_once("part")
    newest = subprocess.run([str(HERE), "-m", "blade_server", "migrate"], env=world.variables(), timeout=TIMEOUT_S)
    assert newest.returncode == 0
