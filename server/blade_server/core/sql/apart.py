"""A process that does nothing but read SQL, and can be killed over it.

`serve` is that process: calls come over its standard input, answers go over its standard output, both pickled. It gets
nothing of the environment that could be a secret, and it ends with its input.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import IO, Any, TypeVar, cast

from blade_server.core import caller
from blade_server.errors import Invalid, Reason, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

CPU_S = 5
"""Processor time that one text may take; about 300 KB of plain SQL, less of what is deep."""
MEMORY_BYTES = 2 << 30
_TOO_MUCH = 3
"""Exit code for a text that needs more memory than that."""
IDLE_S = 300.0
"""It ends when nothing came for so long; the next text starts it again, which takes about a second."""
_WALL_S = 60.0
"""On a processor that others use, too."""
_LOOK_S = 0.05
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class Apart:
    """The process, as the server has it: one call at a time, whoever calls sees to that."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._timed_out = False
        atexit.register(self.close)

    def call(
        self,
        function: Callable[..., T],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        field: str,
        wanted: Callable[[], bool],
    ) -> T:
        """Calls a function of a module over there.

        Raises Invalid, as the function does, or because it took too long; Deadline if it is no longer wanted;
        Unavailable if the process cannot be kept running.
        """
        request = pickle.dumps((function.__module__, function.__qualname__, args, kwargs, CPU_S))
        for _ in range(2):  # it may be about to end, because nothing came for long, or somebody ended it
            answer = self._ask(request, wanted)
            if answer is not None:
                return cast("T", _result(answer))
            if self._ended_over_it():
                raise Invalid.field(
                    field,
                    f"takes more than {CPU_S} s of processor time to read, or {MEMORY_BYTES >> 30} GiB; "
                    "make it shorter, or a view in the warehouse",
                    reason=Reason.INVALID_SQL,
                )
        raise Unavailable("long SQL cannot be read now: the process that reads it ends again and again; try again")

    def _ask(self, request: bytes, wanted: Callable[[], bool]) -> Any:
        """The pickled answer; None if the process ended over it."""
        try:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(request)
            process.stdin.flush()
            deadline = time.monotonic() + _WALL_S
            while not _readable(process.stdout, _LOOK_S):
                self._timed_out = time.monotonic() > deadline
                if self._timed_out or not wanted():
                    self.close()
                    caller.check()
                    return None
            return pickle.load(process.stdout)  # noqa: S301 - our own process wrote it
        except (OSError, EOFError, pickle.UnpicklingError) as exc:
            log.info("the process that reads SQL ended: %r", exc)
            return None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                start_new_session=True,  # a Ctrl-C in the terminal is for the server
            )
        return self._process

    def _ended_over_it(self) -> bool:
        """Whether it ended over what it read, and not by itself or by somebody else's hand."""
        if self._process is None:
            return self._timed_out
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(1.0) in {-signal.SIGXCPU, _TOO_MUCH}
        return False

    def close(self) -> None:
        """Ends the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    stream.close()  # type: ignore[union-attr]


def _readable(stream: IO[bytes], timeout_s: float) -> bool:
    watched = select.poll()  # select() takes no descriptor above 1023, and a server may have thousands
    watched.register(stream, select.POLLIN)
    return bool(watched.poll(timeout_s * 1000))


def _result(answer: tuple[str, Any]) -> Any:
    kind, value = answer
    if kind == "invalid":
        violations, reason = value
        raise Invalid(violations, reason=reason)
    if kind == "bug":
        raise RuntimeError(f"reading SQL met a bug: {value}")
    return value


def _answer(module: str, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, Any]:
    try:
        # The function itself, not as others find it: bounded.
        function = getattr(import_module(module), name).__wrapped__
        return "value", function(*args, **kwargs)
    except Invalid as exc:
        return "invalid", (exc.violations, exc.reason)
    except MemoryError:
        os._exit(_TOO_MUCH)
    except Exception as exc:
        return "bug", f"{type(exc).__name__}: {exc}"


def serve() -> None:
    """Answers calls until its input ends, or nothing came for IDLE_S."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # for the server, which ends this one
        signal.signal(number, signal.SIG_IGN)
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with suppress(OSError):
        os.nice(5)  # the server goes first
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    while _readable(requests, IDLE_S):
        try:
            module, name, args, kwargs, cpu_s = pickle.load(requests)  # noqa: S301 - the server wrote it
        except EOFError:
            return
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + cpu_s, hard))
        pickle.dump(_answer(module, name, args, kwargs), answers)
        answers.flush()
