"""Callers that ask two servers for the same, or for the opposite, at one moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.faults.tables import LONG
from tests.faults.world import FaultWorld

from blade.v1.job_pb2 import Job, JobEvent
from blade_client import BladeClient

T = TypeVar("T")


def _at_once(world: FaultWorld, ask: Callable[[BladeClient], T], times: int = 8) -> list[T]:
    """The answers of two servers that are asked in turn, all at one moment."""
    replicas = world.servers.serve("a", "b")

    def call(number: int) -> T:
        with world.servers.client(replicas[number % 2]) as client:
            return ask(client)

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(call, range(times)))


def test_one_request_id_at_two_servers_makes_one_job(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    source = world.jobs.add_source()
    jobs = _at_once(world, lambda client: client.start_query_job(source=source, request_id="one and the same"))
    assert len({job.job_id for job in jobs}) == 1
    world.checks.invariant(world.jobs.follow(jobs[0].job_id, "main.faults.steps", source))


def test_pauses_and_cancels_at_two_servers_are_each_done_once(world: FaultWorld) -> None:
    world.servers.serve("a", "b")
    run = world.jobs.start(LONG, items_per_second=500)
    world.jobs.until_moving(run)
    _at_once(world, lambda client: client.pause(run.job_id, "all of us"))
    answers = _at_once(world, lambda client: client.cancel(run.job_id, "all of us"))
    assert {job.status for job in answers} == {Job.CANCELLED}
    kinds = [event.kind for event in world.checks.invariant(run, Job.CANCELLED).history]
    for kind in (JobEvent.PAUSE_REQUESTED, JobEvent.CANCEL_REQUESTED, JobEvent.CANCELLED):
        assert kinds.count(kind) == 1
