"""Pause, resume, cancel, limits, hand-over: what callers and other servers do to a running job."""

from __future__ import annotations

import threading
import time

import pytest
from tests.support.access import called

from blade_server.errors import Precondition
from blade_server.model import Action, EventKind, JobLimits, Status, WaitReason


def moving(job):
    return job.status is Status.RUNNING and job.success_count > 0


def test_a_paused_job_has_nothing_in_flight_and_goes_on_where_it_was(make_world, ended, reaches):
    world = make_world(3000, replace=False)
    world.runner()
    world.catalog.set_faults(latency_ms=30)
    job = reaches(world, world.begin(batch_size=20), moving)
    asked = world.jobs.control.pause(job.job_id, by=called("operator"), reason="runway closed")
    assert (asked.status, asked.pending_action) == (Status.RUNNING, Action.PAUSE)
    world.wake()
    paused = reaches(world, job, lambda job: job.status is Status.PAUSED)
    assert world.catalog.status()["concurrent"] == 0
    assert len(world.held()) == paused.success_count < 3000
    assert (paused.pending_action, paused.wait_reason) == (None, WaitReason.PAUSE_REQUESTED)
    assert paused.estimated_completion is None
    uploads = world.catalog.status()["uploads"]
    world.jobs.control.resume(job.job_id, by=called("operator"), reason="open again")
    world.wake()
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 3000)
    assert set(world.held().values()) == {1}
    assert world.catalog.status()["uploads"] > uploads
    kinds = [(event.kind, event.reason) for event in done.history]
    assert (EventKind.PAUSE_REQUESTED, "runway closed") in kinds
    assert (EventKind.RESUMED, "open again") in kinds
    assert done.paused_s > 0


def test_pause_and_resume_are_idempotent_and_refused_where_they_make_no_sense(make_world, ended, reaches):
    world = make_world(2000)
    job = world.begin(items_per_second=200)
    with pytest.raises(Precondition, match="PENDING"):
        world.jobs.control.pause(job.job_id, by=called("x"))
    world.runner()
    reaches(world, job, moving)
    for _ in range(2):
        world.jobs.control.pause(job.job_id, by=called("x"))
    reaches(world, job, lambda job: job.status is Status.PAUSED)
    revision = world.store.get(job.job_id).revision
    assert world.jobs.control.pause(job.job_id, by=called("x")).revision == revision
    for _ in range(2):
        resumed = world.jobs.control.resume(job.job_id, by=called("x"))
    assert resumed.status is Status.RUNNING
    world.jobs.control.update_limits(job.job_id, JobLimits(), by=called("x"))
    world.wake()
    ended(world, job)
    with pytest.raises(Precondition, match="COMPLETED"):
        world.jobs.control.pause(job.job_id, by=called("x"))
    with pytest.raises(Precondition, match="COMPLETED"):
        world.cancel(job.job_id, by=called("x"))


def test_a_pause_can_be_taken_back_before_it_is_done(make_world, ended, reaches):
    world = make_world(500)
    world.runner()
    world.catalog.set_faults(latency_ms=400)
    job = reaches(world, world.begin(batch_size=50, workers=2), lambda job: world.catalog.status()["concurrent"])
    world.jobs.control.pause(job.job_id, by=called("x"))
    world.wake()
    resumed = world.jobs.control.resume(job.job_id, by=called("x"))
    assert (resumed.status, resumed.pending_action) == (Status.RUNNING, None)
    world.wake()
    assert ended(world, job).status is Status.COMPLETED


def test_a_long_pause_lets_the_cursor_go_and_any_server_resumes(make_world, ended, reaches, wait_until):
    world = make_world(3000, replace=False)
    first = world.runner(world.configured(pause_hold_s=0.2))
    world.catalog.set_faults(latency_ms=30)
    job = reaches(world, world.begin(batch_size=20), moving)
    world.jobs.control.pause(job.job_id, by=called("x"))
    world.wake()
    wait_until(lambda: any(e.kind is EventKind.RELEASED for e in world.store.get(job.job_id).history))
    assert world.store.get(job.job_id).status is Status.PAUSED
    first.stop(5)
    world.runner()
    world.jobs.control.resume(job.job_id, by=called("x"))
    world.wake()
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 3000)
    assert set(world.held().values()) == {1}


def test_no_upload_starts_after_a_cancel_has_been_answered(make_world, reaches, wait_until):
    world = make_world(20_000)
    world.runner()
    world.catalog.set_faults(latency_ms=20)
    job = reaches(world, world.begin(batch_size=20), moving)
    ringing = threading.Timer(0.05, world.wake)
    ringing.start()
    answer = world.cancel(job.job_id, by=called("operator"), reason="wrong table")
    uploads = world.catalog.status()["uploads"]
    assert answer.status is Status.CANCELLED
    assert world.store.get(job.job_id).end_time is not None
    # the statement is gone from the warehouse too
    assert world.cancel(job.job_id, by=called("operator")).status is Status.CANCELLED
    wait_until(lambda: world.catalog.status()["concurrent"] == 0)
    assert world.catalog.status()["uploads"] == uploads
    assert len(world.held()) == answer.success_count
    ringing.join()


def test_a_pending_job_is_cancelled_at_once(make_world):
    world = make_world(10)
    job = world.begin()
    assert world.cancel(job.job_id, by=called("x")).status is Status.CANCELLED
    assert world.cancel(job.job_id, by=called("x")).status is Status.CANCELLED


def test_a_paused_job_can_be_cancelled(make_world, reaches):
    world = make_world(5000)
    world.runner()
    job = reaches(world, world.begin(items_per_second=500), moving)
    world.jobs.control.pause(job.job_id, by=called("x"))
    world.wake()
    reaches(world, job, lambda job: job.status is Status.PAUSED)
    assert world.cancel(job.job_id, by=called("x")).status is Status.CANCELLED


def test_a_cancel_reaches_a_statement_that_the_warehouse_is_still_running(make_world, wait_until, reaches):
    world = make_world(10)
    world.runner()
    world.warehouse_faults(slow_execute_ms=60_000)
    job = world.begin()
    reaches(world, job, lambda job: job.wait_reason is WaitReason.WAREHOUSE_STARTING and job.start_time)
    ringing = threading.Timer(0.1, world.wake)
    ringing.start()
    began = time.monotonic()
    assert world.cancel(job.job_id, by=called("x")).status is Status.CANCELLED
    assert time.monotonic() - began < 30
    ringing.join()


def test_a_job_handed_back_by_a_stopping_server_goes_on_at_another(make_world, ended, reaches):
    world = make_world(4000, replace=False)
    first = world.runner()
    world.catalog.set_faults(latency_ms=30)
    job = reaches(world, world.begin(batch_size=20), moving)
    first.stop(10)
    handed_back = world.store.get(job.job_id)
    assert (handed_back.status, handed_back.wait_reason) == (Status.RUNNING, WaitReason.QUEUED)
    assert 0 < len(world.held()) < 4000
    second = world.runner()
    done = ended(world, job)
    assert (done.status, done.success_count) == (Status.COMPLETED, 4000)
    assert set(world.held().values()) == {1}
    claims = [event.actor for event in done.history if event.kind is EventKind.CLAIMED]
    assert claims == [first.owner, second.owner]


def test_limits_of_a_running_job_can_be_changed(make_world, ended, reaches):
    world = make_world(2000)
    world.runner()
    job = reaches(world, world.begin(items_per_second=20), moving)
    reaches(world, job, lambda job: job.wait_reason is WaitReason.RATE_LIMITED)
    changed = world.jobs.control.update_limits(
        job.job_id, JobLimits(max_errors=3), by=called("operator"), reason="night"
    )
    assert changed.spec.limits == JobLimits(max_errors=3)
    world.wake()
    done = ended(world, job)
    assert done.status is Status.COMPLETED
    assert (EventKind.LIMITS_CHANGED, "night") in [(event.kind, event.reason) for event in done.history]


def test_items_per_second_of_a_source_hold_over_all_its_jobs_and_servers(make_world, ended):
    world = make_world(400, source={"items_per_second": 400})
    world.runner()
    world.runner()
    began = time.monotonic()
    jobs = [world.begin() for _ in range(3)]
    for job in jobs:
        assert ended(world, job).status is Status.COMPLETED
    # 1,200 items at 400/s; what may go at once at the start is one step of half a second for each reservation
    assert time.monotonic() - began > 1200 / 400 - 0.75


def test_a_source_runs_no_more_jobs_at_once_than_it_may(make_world, ended, wait_until):
    world = make_world(600, source={"max_running_jobs": 1})
    world.runner()
    world.runner()
    jobs = [world.begin(items_per_second=1000) for _ in range(3)]
    most = 0

    def all_done():
        nonlocal most
        states = world.store.get_many([job.job_id for job in jobs])  # of one moment
        most = max(most, sum(state.status is Status.RUNNING for state in states))
        return all(state.status.final for state in states)

    wait_until(all_done, 30)
    assert most == 1


def test_a_long_queue_of_one_source_does_not_starve_another(make_world, ended):
    world = make_world(200)
    world.add_source("blade-other", data_type="other")
    first = [world.begin() for _ in range(6)]
    other = world.begin(source="blade-other")
    world.runner(world.configured(max_running_jobs=1))
    other_done = ended(world, other)
    rest = [ended(world, job) for job in first]
    assert sorted([*rest, other_done], key=lambda job: job.start_time).index(other_done) <= 1


def test_a_source_whose_credentials_this_server_lacks_fails_the_job_with_a_plain_word(make_world, ended):
    world = make_world(10)
    world.runner(world.configured(DATABRICKS_SERVER_HOSTNAME=""))
    job = ended(world, world.begin())
    assert job.status is Status.FAILED
    assert "DATABRICKS_SERVER_HOSTNAME" in job.error_message


def test_a_pause_asked_of_a_server_that_died_is_kept_by_the_one_that_takes_over(make_world, reaches):
    world = make_world(10_000)
    claim = world.leases.claim_next("a server that dies at once", world.begin().create_time and 1.0)
    assert world.jobs.control.pause(claim.job_id, by=called("x")).pending_action is Action.PAUSE
    world.runner()
    paused = reaches(world, claim.job, lambda job: job.status is Status.PAUSED)
    assert paused.success_count == 0
