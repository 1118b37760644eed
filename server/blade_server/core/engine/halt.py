"""What holds the threads of one job together: whether they may go on, and if not, why nothing moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar, Protocol, TypeVar

from blade_server.model import WaitReason

T = TypeVar("T")


class Halt(StrEnum):
    """Why a job must not start anything now. A later one replaces an earlier one only if it is stronger."""

    PAUSE = "PAUSE"
    STOP = "STOP"
    """This server is stopping."""
    CANCEL = "CANCEL"
    FAIL = "FAIL"
    """A fatal error was met."""
    LOST = "LOST"
    """Another server has the job."""


SILENT_AFTER_S = 3.0
"""A request that has gone unanswered for so long is shown as the reason why nothing moves."""
_LONGEST_WAIT_S = 3600.0


def clock() -> float:
    """Seconds for leases: go on while the process is stopped and, where the system can tell, while it is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


_STRENGTH = {halt: strength for strength, halt in enumerate(Halt)}


class Insist(Protocol):
    """Calls again and again while PostgreSQL is away; raises LeaseLost if the job must be left meanwhile."""

    def __call__(self, call: Callable[[], T], /) -> T:
        """What the call returns."""


class HaltedError(Exception):
    """Raised in the threads of a job that must not start anything now, for `why`; what they hold goes back."""

    is_failure: ClassVar[bool] = False
    """For traces."""

    def __init__(self, why: Halt) -> None:
        super().__init__(why)
        self.why = why


class Control:
    """Shared by the threads of one job; every method may be called from any of them.

    The lease is kept by `clock`, from before it was asked for: a process that was stopped and woken finds it run out
    before it sends anything more.
    """

    def __init__(self, lease_until: float) -> None:
        self._changed = threading.Condition()
        self._lease_until = lease_until
        self._halt: Halt | None = None
        self._waits: dict[int, tuple[WaitReason, str]] = {}
        self._busy: dict[int, float] = {}

    def renew(self, lease_until: float) -> None:
        """The lease holds until then (seconds of `clock`)."""
        with self._changed:
            self._lease_until = lease_until
            self._changed.notify_all()

    @property
    def halted(self) -> Halt | None:
        """Why nothing may start, if so."""
        return self._halt

    def halt(self, why: Halt) -> None:
        """From now on nothing starts. A weaker reason than the one in force changes nothing."""
        with self._changed:
            if self._halt is None or _STRENGTH[why] > _STRENGTH[self._halt]:
                self._halt = why
                self._changed.notify_all()

    def go_on(self) -> None:
        """Takes a pause back; any other reason stays."""
        with self._changed:
            if self._halt is Halt.PAUSE:
                self._halt = None
                self._changed.notify_all()

    def check(self) -> None:
        """Returns at once if something may start now, waits while the lease is out; raises HaltedError."""
        with self._changed:
            while self._halt is None and clock() >= self._lease_until:
                # PostgreSQL is away or this process slept: the next beat renews the lease or finds it lost.
                self._changed.wait(1.0)
            if self._halt is not None:
                raise HaltedError(self._halt)

    def wait(self, seconds: float, reason: WaitReason, detail: str = "") -> None:
        """Waits so long, unless halted meanwhile: then raises HaltedError."""
        me = threading.get_ident()
        deadline = time.monotonic() + min(seconds, _LONGEST_WAIT_S)
        with self._changed:
            self._waits[me] = (reason, detail)
            try:
                while self._halt is None:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return
                    self._changed.wait(left)
                raise HaltedError(self._halt)
            finally:
                del self._waits[me]

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Inside, this thread is moving things."""
        me = threading.get_ident()
        with self._changed:
            self._busy[me] = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                del self._busy[me]

    def why_waiting(self) -> tuple[WaitReason | None, str]:
        """Why nothing moves: what the waiting threads wait for, if no thread is busy but those without an answer.

        A rate is told also while something moves: at a limit one thread waits and another sends, and that is one state
        and not two in turn, each of which would go out to all watchers at once.
        """
        with self._changed:
            for wait in self._waits.values():
                if wait[0] is WaitReason.RATE_LIMITED:
                    return wait
            silent_s = time.monotonic() - max(self._busy.values(), default=float("-inf"))
            if silent_s < SILENT_AFTER_S:
                return None, ""
            if self._waits:
                return next(iter(self._waits.values()))
            return (WaitReason.CATALOG_DOWN, f"no answer for {silent_s:.0f} s") if self._busy else (None, "")
