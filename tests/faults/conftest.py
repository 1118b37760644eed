"""The fault suite: real servers as processes, faults of every part, one invariant (see invariant.py)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.postgres import Postgres
from tests.faults.tally import Tally
from tests.faults.world import FaultWorld
from tests.support.engine import ended, make_world

from blade_server.storage.embedded.postgres import EmbeddedPostgres

__all__ = ["ended", "make_world"]

_tally = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_tally] = Tally()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands over what it did."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = session.config.stash[_tally].plain()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes it over; a process that has crashed tells nothing."""
    node.config.stash[_tally].add(getattr(node, "workeroutput", {}).get("faults", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One table of what was injected and what it cost."""
    tally = config.stash[_tally]
    if tally.scenarios:
        terminalreporter.section("faults", sep="-")
        for line in tally.lines():
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def _mortal_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    # A path that is too long for a socket: its folder lies elsewhere, and must be the same after a crash.
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / ("long-" * 20)) as embedded:
        yield embedded


@pytest.fixture(scope="session")
def _world(_mortal_postgres: EmbeddedPostgres) -> Iterator[FaultWorld]:
    with tempfile.TemporaryDirectory(prefix="blade-faults-", ignore_cleanup_errors=True) as folder:
        postgres = Postgres(_mortal_postgres)
        world = FaultWorld(Path(folder), postgres)
        yield world
        world.close()
        assert postgres.connections() == 0


@pytest.fixture
def world(_world: FaultWorld, request: pytest.FixtureRequest) -> Iterator[FaultWorld]:
    """The world of the suite: its parts are shared, its servers are those a scenario asks for, its jobs are its own."""
    _world.begin(request.config.stash[_tally].scenario(request.node.name))
    yield _world
    try:
        _world.checks.nothing_left()
    finally:
        _world.tidy()
