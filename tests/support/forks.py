"""Processes of `blade` without its imports, which take seconds of processor time: forks of one that has done them.

Each is a process like any other, with an environment, signals and an exit code of its own. A test that is about the
start of an interpreter (what it imports, PYTHONPATH) starts one afresh, by `subprocess`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from typing import IO

SERVER = "blade_server.__main__"
CLIENT = "blade_client.cli"
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        SERVER,
        "blade_server.app.doctor.bundle",
        "blade_server.app.serve",
        "blade_server.app.worker",
        "blade_server.core.audit.prune",
        "blade_sandbox.cli",
        "blade_sandbox.catalog.cli",
        "blade_sandbox.warehouse.cli",
        *(
            f"{CLIENT}.{name}"
            for name in ("access", "audit", "grant", "item", "job", "login", "query", "source", "token")
        ),
    ]
)


class Forked:
    """As much of subprocess.Popen as the tests need.

    Args:
        module: whose `main` runs.
        own_group: in a session of its own, as what a terminal starts.
        stdin: by a pipe; else it has nothing to read.
        output: file for what it prints, on either stream; else there are pipes.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        own_group: bool = False,
        stdin: bool = False,
        output: IO[bytes] | None = None,
    ) -> None:
        self.args = ["blade", *arguments]
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        given: dict[int, Connection] = {}
        if stdin:
            given[0], writer = _FORKS.Pipe(duplex=False)
            self.stdin = _opened(writer, "w")
        if output is None:
            (out, given[1]), (err, given[2]) = _FORKS.Pipe(duplex=False), _FORKS.Pipe(duplex=False)
            self.stdout, self.stderr = _opened(out, "r"), _opened(err, "r")
        else:
            given |= {number: Connection(os.dup(output.fileno()), readable=False) for number in (1, 2)}
        self._process = _FORKS.Process(
            target=_become, args=(module, self.args, dict(environment), own_group, given), daemon=True
        )
        self._process.start()
        for end in given.values():
            end.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed and nobody has read yet, once nobody can print any more and it has ended."""
        deadline_s = None if timeout is None else time.monotonic() + timeout
        readers = [_ToTheEnd(stream) for stream in (self.stdout, self.stderr) if stream is not None]
        for reader in readers:
            reader.join(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        return readers[0].found, readers[1].found


class _ToTheEnd(threading.Thread):
    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self._stream, self.found = stream, ""
        self.start()

    def run(self) -> None:
        if not self._stream.closed:
            with self._stream:
                self.found = self._stream.read()


def run_forked(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run; what takes too long is killed. Raises subprocess.TimeoutExpired."""
    process = Forked(module, arguments, environment)
    try:
        out, err = process.communicate(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def _opened(pipe: Connection, mode: str) -> IO[str]:
    with pipe:
        return os.fdopen(os.dup(pipe.fileno()), mode, encoding="utf-8")


def _become(
    module: str, arguments: list[str], environment: dict[str, str], own_group: bool, given: dict[int, Connection]
) -> None:
    """In the fork: what differs between this process and one that was started with these arguments."""
    os.environ.clear()
    os.environ.update(environment)
    if own_group:
        os.setsid()
    for number, end in given.items():
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1 if "PYTHONUNBUFFERED" in environment else -1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = arguments
    import_module(module).main()
