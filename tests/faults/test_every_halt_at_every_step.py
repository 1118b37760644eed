"""Every reason to halt, put at every line that a job's own thread runs: nothing is lost, doubled or without an owner.

The thread is traced. A first run without a halt tells which lines there are; then a job is run for each line and each
halt, and the halt comes the first time that line is reached.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import text
from tests.support.access import called

from blade_server.app.policies import engine_policy
from blade_server.catalog import Catalog
from blade_server.core.destinations.catalogs import Catalogs
from blade_server.core.engine import attempts, delivery, halt, run
from blade_server.core.engine.attempts import Attempts
from blade_server.core.engine.halt import clock
from blade_server.core.engine.passes import local
from blade_server.core.engine.run import EngineTools, Run
from blade_server.errors import Precondition
from blade_server.model import Status

TRACED = {module.__file__ for module in (attempts, delivery, halt, local, run)}
ROWS = 30
LEASE_S = 30.0

Step = tuple[str, int]


class Stepper:
    """Runs claims of a job and calls `halt` when the thread reaches `step` for the first time."""

    def __init__(self, world, tools, step: Step | None, halt: Callable[[Run], None]) -> None:
        self.world = world
        self.tools = tools
        self.step = step
        self.halt = halt
        self.steps: dict[Step, None] = {}
        self.reached = threading.Event()

    def run(self, claim) -> tuple[Run, threading.Thread]:
        running = Run(self.tools, claim, clock() + LEASE_S)
        life = Attempts(running)

        def traced() -> None:
            sys.settrace(lambda frame, event, arg: self._look(frame, running))
            try:
                life.run()
                life.close()
            finally:
                sys.settrace(None)

        thread = threading.Thread(target=traced)
        thread.start()
        return running, thread

    def _look(self, frame, running):
        if frame.f_code.co_filename not in TRACED:
            return None

        def line(frame, event, arg):
            if event == "line":
                step = frame.f_code.co_filename, frame.f_lineno
                self.steps.setdefault(step)
                if step == self.step and not self.reached.is_set():
                    self.reached.set()
                    # From another thread, as in a server: the traced one may hold a lock at this line.
                    halting = threading.Thread(target=self.halt, args=(running,))
                    halting.start()
                    halting.join(0.05)
            return line

        return line


class Caller:
    """What callers and a runner do to one job; `halts` are its ways to disturb it."""

    def __init__(self, world, job) -> None:
        self.world = world
        self.job = job
        self.claim = None

    def beat(self, running: Run) -> None:
        flags = self.world.leases.beat("here", [self.claim], LEASE_S)
        if self.job.job_id in flags:
            running.renew(clock() + LEASE_S, flags[self.job.job_id])
        else:
            running.lose()

    def pause(self, running: Run) -> None:
        with suppress(Precondition):
            self.world.jobs.control.pause(self.job.job_id, by=called("x"))
        self.beat(running)

    def pause_and_resume(self, running: Run) -> None:
        self.pause(running)
        with suppress(Precondition):
            self.world.jobs.control.resume(self.job.job_id, by=called("x"))
        self.beat(running)

    def pause_with_the_lease_out(self, running: Run) -> None:
        running.control.renew(clock() - 1.0)
        with suppress(Precondition):
            self.world.jobs.control.pause(self.job.job_id, by=called("x"))
        flags = self.world.leases.beat("here", [self.claim], LEASE_S)
        if self.job.job_id in flags:
            running.obey(flags[self.job.job_id])  # as a record's answer would tell it
        time.sleep(0.02)
        self.beat(running)

    def cancel(self, running: Run) -> None:
        with suppress(Precondition):
            self.world.control.cancel(self.job.job_id, by=called("x"), reason="")
        self.beat(running)

    def stop(self, running: Run) -> None:
        running.stop()

    def lose(self, running: Run) -> None:
        with self.world.database.begin() as connection:
            connection.execute(
                text(
                    "UPDATE job SET owner = NULL, lease_until = NULL, epoch = epoch + 1"
                    " WHERE job_id = :job_id AND end_time IS NULL"
                ),
                {"job_id": self.job.job_id},
            )
        self.beat(running)

    def nothing(self, running: Run) -> None:
        """For the run that finds the steps."""


HALTS = ["pause", "pause_and_resume", "pause_with_the_lease_out", "cancel", "stop", "lose"]


def finish(world, job, stepper, caller) -> Status:
    """Plays the runner until the job is final: beats, resumes a paused job, claims again what was let go."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        claim = world.leases.claim_next("here", LEASE_S)
        if claim is None:
            status = world.store.get(job.job_id).status
            if status.final:
                return status
            assert status is Status.PAUSED, "no server has it and none may take it"
            world.jobs.control.resume(job.job_id, by=called("x"))
            continue
        caller.claim = claim
        running, thread = stepper.run(claim)
        while thread.is_alive():
            assert time.monotonic() < deadline, f"stuck: {world.store.get(job.job_id)}"
            thread.join(0.02)
            if thread.is_alive() and world.store.get(job.job_id, history=False).status is Status.PAUSED:
                world.jobs.control.resume(job.job_id, by=called("x"))
                caller.beat(running)
        shown = world.store.get(job.job_id)
        with world.database.begin() as connection:
            query = text("SELECT owner FROM job WHERE job_id = :job_id")
            owner = connection.execute(query, {"job_id": job.job_id}).scalar_one()
        assert shown.status.final or owner is None, f"its thread has ended and {owner} still owns it: {shown}"
    raise AssertionError("not ended in time")


class Stage:
    """A world, and what runs jobs in it, each over a source of its own so that their items are told apart."""

    def __init__(self, world) -> None:
        self.world = world
        self.settings = world.configured(catalog_timeout_s=0.2, retry_base_s=0.0)
        self.catalog = Catalog(self.settings.catalog_url, timeout_s=0.2)
        self.runs = 0

    def tools(self) -> EngineTools:
        return EngineTools.of(engine_policy(self.settings), self.world.stores, Catalogs(self.catalog))

    def run(self, faults: dict, step: Step | None, halt: str) -> Stepper:
        world = self.world
        self.runs += 1
        name = f"s{self.runs}"
        world.add_source(name, data_type=name)
        world.warehouse_faults(**faults)
        job = world.begin(source=name, batch_size=10, workers=2)
        caller = Caller(world, job)
        stepper = Stepper(world, self.tools(), step, getattr(caller, halt))
        status = finish(world, job, stepper, caller)
        held = world.held(f"BLADE:{name}")
        assert set(held.values()) <= {1}, "an item came twice"
        if halt != "cancel":
            assert status is Status.COMPLETED, world.store.get(job.job_id)
        if status is Status.COMPLETED:
            done = world.store.get(job.job_id)
            assert (done.success_count, done.error_count, len(held)) == (ROWS, 0, ROWS), done
        return stepper


BREAK = {"drop_reply": {"count": 1, "call": "FetchResults"}}


def disturbed(stage: Stage, faults: dict, steps: list[Step], halt: str) -> None:
    reached = sum(stage.run(faults, step, halt).reached.is_set() for step in steps)
    assert reached > 0.9 * len(steps), "some lines are only reached with some luck, most always"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("halt", HALTS)
def test_a_halt_at_any_line_leaves_the_job_whole_and_owned(make_world, halt):
    stage = Stage(make_world(ROWS, replace=False))
    steps = list(stage.run({}, None, "nothing").steps)
    assert len(steps) > 80
    disturbed(stage, {}, steps, halt)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("halt", HALTS)
def test_a_halt_at_any_line_that_mends_a_broken_reading_leaves_the_job_whole_and_owned(make_world, halt):
    stage = Stage(make_world(ROWS, replace=False))
    fair = stage.run({}, None, "nothing").steps
    steps = [step for step in stage.run(BREAK, None, "nothing").steps if step not in fair]
    assert len(steps) > 10
    disturbed(stage, BREAK, steps, halt)
