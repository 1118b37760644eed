"""The command `blade` as a process, against real servers that are processes, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.access import SERVER_ENVIRONMENT
from tests.support.forks import CLIENT, Forked, run_forked
from tests.support.ports import free_port

from blade_sandbox import sandbox
from blade_sandbox.data import sample_tables
from blade_sandbox.sandbox import Ports, Sandbox
from blade_sandbox.server_process import ServerProcess

BLADE = Path(sys.executable).parent / "blade"
WRONG_TOKEN = "env:DATABRICKS_WRONG_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]


class Cli:
    """`blade` for one server."""

    def __init__(self, server: str) -> None:
        self.server = server
        self._environment = {**os.environ, "BLADE_SERVER": server}

    def __call__(self, *arguments: str | bytes, code: int | None = 0, timeout_s: float = 60) -> Ended:
        """Runs the command; `code` is the exit code it must end with, None: any."""
        done = run_forked(CLIENT, [os.fsdecode(argument) for argument in arguments], self._environment, timeout_s)
        ended = Ended(code=done.returncode, out=done.stdout, err=done.stderr)
        assert code in (None, ended.code), f"ended with {ended.code}: {ended.out}{ended.err}"
        return ended

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the command by an interpreter of its own and returns at once; the caller ends it."""
        return subprocess.Popen(
            [BLADE, *arguments], env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


class ForkedServer(ServerProcess):
    """One server of a sandbox that need not import anything."""

    def launch(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            own = {**environment, "PYTHONUNBUFFERED": "1"}
            self._process = Forked("blade_sandbox.leash", arguments, own, own_group=True, stdin=True, output=log)


@pytest.fixture(scope="session", autouse=True)
def _forked_servers() -> Iterator[None]:
    """Of each Sandbox that a test makes in this process; `blade sandbox` and `blade demo` start theirs afresh."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "ServerProcess", ForkedServer)
        yield


@pytest.fixture(scope="session")
def make_world(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Sandbox]]:
    """`make_world(tables=..., settings=..., catalog_options=...)`: a started world; stopped at the end of the run."""
    made: list[Sandbox] = []

    def make(
        tables: Mapping[str, Path] | None = None,
        settings: Mapping[str, str] | None = None,
        catalog_options: Sequence[str] = (),
    ) -> Sandbox:
        ports = Ports(warehouse=free_port())
        world = Sandbox(
            tmp_path_factory.mktemp("world"),
            tables={**sample_tables(), **(tables or {})},
            ports=ports,
            settings={
                "BLADE_ALLOWED_WAREHOUSE_HOSTS": f"http://127.0.0.1:{ports.warehouse}={WRONG_TOKEN}",
                "BLADE_LEASE_S": "2",
                "BLADE_LEASE_BEAT_S": "0.5",
                "BLADE_AUTH": "on",
                **SERVER_ENVIRONMENT,
                **(settings or {}),
            },
            catalog_options=catalog_options,
        )
        world.start()
        made.append(world)
        return world

    yield make
    for world in made:
        world.stop()


@pytest.fixture(scope="session")
def world(make_world: Callable[..., Sandbox]) -> Sandbox:
    """The world that tests share; each works with data types of its own, and none stops a part of it."""
    return make_world(settings={"DATABRICKS_WRONG_TOKEN": "not-the-token"})


@pytest.fixture
def blade(world: Sandbox) -> Cli:
    return Cli(world.target)


@pytest.fixture
def add_source(blade: Cli, request: pytest.FixtureRequest) -> Callable[..., str]:
    """`add_source(table, *options)` adds a source with a data type of its own and returns that; it is also its name."""
    count = 0

    def add(table: str, *options: str) -> str:
        nonlocal count
        count += 1
        name = f"t{abs(hash(request.node.nodeid)) % 10**12}-{count}"
        blade("source", "add", "--name", name, "--data-type", name, "--table", table, *options)
        return name

    return add
