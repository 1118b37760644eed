"""No job fails for good because of the clock of the machine it runs on."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from blade_server.model import EventKind, Status
from blade_server.storage import clock as clock_module


@pytest.fixture
def wall(monkeypatch):
    """`wall.off_s`: how far this machine's clock is ahead."""
    wall = SimpleNamespace(off_s=0.0)
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(time=lambda: time.time() + wall.off_s))
    return wall


def test_what_fails_while_the_clock_is_wrong_is_handed_back(make_world, ended, reaches, wall, monkeypatch):
    world = make_world(100)
    compare = world.stores.leases.compare_clocks

    def too_late() -> bool:
        """It went wrong since the last beat."""
        wall.off_s = 7200.0
        return compare()

    monkeypatch.setattr(world.stores.leases, "compare_clocks", too_late)
    world.runner()
    job = world.begin(sql="SELECT nothing_like_it FROM maintenance")

    def handed_back(job) -> bool:
        return any(event.kind is EventKind.RELEASED for event in job.history)

    job = reaches(world, job, handed_back)
    assert job.status is Status.RUNNING
    assert "clock is wrong" in job.history[-1].detail

    monkeypatch.setattr(world.stores.leases, "compare_clocks", compare)
    wall.off_s = 0.0
    assert ended(world, job).status is Status.FAILED
