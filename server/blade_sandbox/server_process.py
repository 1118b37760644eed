"""One server of the sandbox as a process: started, found out where it listens, stopped or killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from blade_sandbox.leash import STOP_TIMEOUT_S

_POLL_S = 0.02
_LOG_LINES = 12


class ServerFailedError(RuntimeError):
    """A server did not start; the message has the end of its log."""


class ServerProcess:
    """One `blade ...` process on a leash. It can be started again after `stop` and `kill`, with other arguments too.

    Args:
        name: what messages and the log file call it.
        log: file for its output, appended to.
        ready: matches the line that says it serves; the named groups are remembered in `found`.
    """

    def __init__(self, name: str, log: Path, ready: re.Pattern[str]) -> None:
        self.name = name
        self.log = log
        self.found: dict[str, str | None] = {}
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError if it was not started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def launch(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts `blade ARGUMENTS` and returns at once; `wait_ready` tells when it serves."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "blade_sandbox.leash", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C goes to the one who started it, who stops all in their order
            )

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Blocks until it serves. Raises ServerFailedError if it ended or took too long."""
        assert self._process is not None
        deadline_s = time.monotonic() + timeout_s
        while True:
            ended = self._process.poll() is not None
            line = self._ready.search(self._output())
            if line is not None and not ended:
                self.found = line.groupdict()
                return
            self.check()
            if time.monotonic() > deadline_s:
                raise self._failed(f"does not serve after {timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raises ServerFailedError if it was started and has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise self._failed(f"ended with {self._process.returncode}")

    def _failed(self, why: str) -> ServerFailedError:
        tail = "\n".join(self._output().splitlines()[-_LOG_LINES:])
        return ServerFailedError(f"the {self.name} {why}; the end of {self.log}:\n{tail}")

    def send(self, signal: int) -> None:
        """Sends it a signal."""
        assert self._process is not None
        self._process.send_signal(signal)

    def kill(self) -> None:
        """Ends it by kill -9, with no chance to clean up."""
        if self._process is not None:
            self._process.kill()
            self._end(self._process)

    def let_go(self) -> None:
        """Asks it to stop, without waiting."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> int | None:
        """Asks it to stop and waits until it has. Returns its exit code; None if it was not running."""
        process = self._process
        if process is None:
            return None
        self.let_go()
        try:
            process.wait(STOP_TIMEOUT_S + 10)
        except subprocess.TimeoutExpired:
            process.kill()
        return self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait()
        self.let_go()
        self._process = None
        return code

    def _output(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start, os.SEEK_SET)
            return log.read().decode(errors="replace")
