"""`blade serve` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from tests.support.access import ADMIN_TOKEN, SERVER_ENVIRONMENT

TIMEOUT_S = 90.0
COMMAND = [sys.executable, "-m", "blade_server"]


def environment(**changes: str | None) -> dict[str, str]:
    """Of a server; None: without this variable."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("BLADE_", "DATABRICKS_", "PG"))}
    own.pop("DATABASE_URL", None)
    ports = {"BLADE_PORT": "0", "BLADE_HTTP_PORT": "0"}
    wanted = own | ports | SERVER_ENVIRONMENT | {"BLADE_TOKEN": ADMIN_TOKEN} | changes
    return {name: value for name, value in wanted.items() if value is not None}


class Served:
    """A server process that has said it is ready, in a process group of its own if asked for."""

    def __init__(self, *arguments: str, own_group: bool = False, **changes: str | None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *arguments],
            env=environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=own_group,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line)
        return found

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, errors


def run(*arguments: str, **changes: str | None) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()[-1]
