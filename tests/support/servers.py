"""`blade serve` and the other commands of a server as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from tests.support.access import ADMIN_TOKEN, SERVER_ENVIRONMENT
from tests.support.forks import SERVER, Forked, run_forked

TIMEOUT_S = 90.0


def environment(**changes: str | None) -> dict[str, str]:
    """Of a server; None: without this variable."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BLADE_", "DATABRICKS_", "PG"))}
    own.pop("DATABASE_URL", None)
    ports = {"BLADE_PORT": "0", "BLADE_HTTP_PORT": "0", "BLADE_ADMIN_PORT": "0"}
    wanted = own | ports | SERVER_ENVIRONMENT | {"BLADE_TOKEN": ADMIN_TOKEN} | changes
    return {name: value for name, value in wanted.items() if value is not None}


class Served:
    """A server process that has said it is ready.

    Args:
        afresh: by an interpreter of its own, which imports everything itself.
        own_group: in a process group of its own, as what a terminal starts.
    """

    def __init__(self, *arguments: str, afresh: bool = False, own_group: bool = False, **changes: str | None) -> None:
        start = _started_afresh if afresh else _forked
        self.process = start(["serve", *arguments], environment(**changes), own_group)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line)
        return found

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, errors


def _forked(arguments: list[str], own: dict[str, str], own_group: bool) -> Forked:
    return Forked(SERVER, arguments, own, own_group=own_group)


def _started_afresh(arguments: list[str], own: dict[str, str], own_group: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "blade_server", *arguments]
    return subprocess.Popen(
        command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=own_group
    )


def run(*arguments: str, **changes: str | None) -> tuple[int, str]:
    """Exit code and last line of a command that ends by itself."""
    done = run_forked(SERVER, arguments, environment(**changes), TIMEOUT_S)
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()[-1]
