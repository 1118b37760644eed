"""When this machine's clock counts as wrong, and what is said of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from blade_server.storage import clock as clock_module
from blade_server.storage.clock import MOST_S, Clock

NOW_S = 1_700_000_000.0


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`wall.s`: what this machine's clock says."""
    wall = SimpleNamespace(s=NOW_S)
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(time=lambda: wall.s))
    return wall


def compared(clock: Clock, wall: SimpleNamespace, database_s: float, *, took_s: float = 0.0) -> bool:
    with clock.comparing() as comparison:
        wall.s += took_s
        comparison.database_s = database_s
    return clock.wrong


@pytest.mark.parametrize("off_s", [0.0, MOST_S, -MOST_S])
def test_a_minute_is_nothing(wall, off_s) -> None:
    assert not compared(Clock(), wall, NOW_S + off_s)


@pytest.mark.parametrize(("off_s", "way"), [(7200.0, "7200 s behind"), (-7200.0, "7200 s ahead of")])
def test_more_is_said_once_and_so_is_that_it_is_over(wall, caplog, off_s, way) -> None:
    clock, told = Clock(), []
    clock.on_change = lambda: told.append(clock.wrong)
    with caplog.at_level("INFO"):
        assert compared(clock, wall, NOW_S + off_s)
        assert compared(clock, wall, NOW_S + off_s)
        assert not compared(clock, wall, NOW_S)
        assert not compared(clock, wall, NOW_S)
    assert told == [True, False]
    first, second = [record.getMessage() for record in caplog.records]
    assert f"is {way} PostgreSQL's" in first
    assert "agrees" in second


@pytest.mark.parametrize("database_s", [NOW_S, NOW_S + 300.0])
def test_an_answer_that_took_long_proves_nothing(wall, database_s) -> None:
    assert not compared(Clock(), wall, database_s, took_s=300.0)


def test_a_question_without_an_answer_changes_nothing(wall) -> None:
    clock = Clock()
    assert compared(clock, wall, NOW_S + 7200.0)
    with pytest.raises(OSError, match="away"), clock.comparing():
        raise OSError("away")
    assert clock.wrong
