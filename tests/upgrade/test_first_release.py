"""A database of 0.1.0 with jobs in every status, made by 0.1.0 itself, is migrated and its jobs finish."""

from __future__ import annotations

from pathlib import Path

from tests.upgrade.world import ROWS, UpgradeWorld

from blade.v1.job_pb2 import Job

SLOW = 60


def test_the_jobs_of_0_1_finish_on_a_server_of_today(world: UpgradeWorld, first: Path) -> None:
    before = world.serve(first, max_running_jobs=1)
    types = ("done", "failed", "cancelled", "paused", "running", "pending")
    for data_type in types:
        world.add_source(before, data_type, data_type)
    start = before.client.start_query_job
    jobs = {"done": start(source="done"), "failed": start("SELECT number / 0 AS n, no_such FROM failed")}
    world.completed(before, jobs["done"])
    world.until(before, jobs["failed"], lambda now: now.status == Job.FAILED)
    for name, ask in (("cancelled", before.client.cancel), ("paused", before.client.pause)):
        jobs[name] = start(source=name, items_per_second=SLOW, batch_size=10)
        world.moving(before, jobs[name])
        ask(jobs[name].job_id)
        world.until(before, jobs[name], lambda now: now.status in (Job.CANCELLED, Job.PAUSED))
    jobs["running"] = start(source="running", items_per_second=SLOW, batch_size=10)
    world.moving(before, jobs["running"])
    jobs["pending"] = start(source="pending")
    before.kill()
    assert world.revision() == "0001"
    statuses = {status for (status,) in world.ask("SELECT status FROM job")}
    assert statuses == {"COMPLETED", "FAILED", "CANCELLED", "PAUSED", "RUNNING", "PENDING"}
    ended = "SELECT job_id, status, success_count, error_count, end_time FROM job WHERE end_time IS NOT NULL ORDER BY 1"
    final = world.ask(ended)

    after = world.serve()
    assert world.ask(ended) == final
    after.client.update_limits(jobs["running"].job_id, items_per_second=0)
    world.completed(after, jobs["pending"])
    world.completed(after, jobs["running"])
    assert after.client.get_job(jobs["paused"].job_id).status == Job.PAUSED
    after.client.update_limits(jobs["paused"].job_id, items_per_second=0)
    after.client.resume(jobs["paused"].job_id)
    world.completed(after, jobs["paused"])
    world.check_all_once("done", "paused", "running", "pending")
    assert set(world.held("cancelled").values()) == {1}
    assert len(world.held("cancelled")) < ROWS
    assert after.client.get_job(jobs["failed"].job_id).error.message
    retried = world.ask("SELECT count(*) FROM job WHERE level <> 0 OR kind <> 'QUERY' OR statements < 0")
    assert retried[0][0] == 0
