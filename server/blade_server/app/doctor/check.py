"""What `blade doctor` finds: one thing that was looked at, how it is, and the way out."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from blade_server.model import StepOutcome, TestStep

LONGEST_S = 30.0
"""For all that is asked of one program, whatever it does."""


class Outcome(StrEnum):
    """How it is. NOT_RUN: it is not set up, or something before it failed."""

    PASSED = "PASSED"
    WARNING = "WARNING"
    FAILED = "FAILED"
    NOT_RUN = "NOT_RUN"


@dataclass(frozen=True, kw_only=True)
class Check:
    """Words for people, without secrets. `way_out`: of what did not pass."""

    name: str
    outcome: Outcome
    found: str
    way_out: str = ""


def passed(name: str, found: str) -> Check:
    """It is as it should be."""
    return Check(name=name, outcome=Outcome.PASSED, found=found)


def warned(name: str, found: str, way_out: str) -> Check:
    """A server runs with it, and somebody should look."""
    return Check(name=name, outcome=Outcome.WARNING, found=found, way_out=way_out)


def failed(name: str, found: str, way_out: str) -> Check:
    """A server does not run with it, or cannot do its work."""
    return Check(name=name, outcome=Outcome.FAILED, found=found, way_out=way_out)


def not_run(name: str, why: str) -> Check:
    """Nothing was looked at."""
    return Check(name=name, outcome=Outcome.NOT_RUN, found=why)


def of_steps(name: str, steps: Iterator[TestStep], ways_out: dict[str, str]) -> Iterator[Check]:
    """The steps of a connection test, as `warehouse.connect`; `ways_out` by the kind of the step."""
    for step in steps:
        part = f"{name}.{step.kind.lower()}"
        if step.outcome is StepOutcome.PASSED:
            yield passed(part, step.message)
        else:
            yield failed(part, step.message, ways_out[step.kind])


def in_time(name: str, look: Callable[[], Iterator[Check]], longest_s: float = LONGEST_S) -> Iterator[Check]:
    """The checks of `look`, which runs in a thread: looking up a name cannot be interrupted. Raises what it raises."""
    found: queue.SimpleQueue[Check | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for check in look():
                found.put(check)
            found.put(None)
        except BaseException as exc:
            found.put(exc)

    threading.Thread(target=work, name=f"doctor {name}", daemon=True).start()
    deadline_s = time.monotonic() + longest_s
    while True:
        try:
            check = found.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            yield failed(name, f"was not done within {longest_s:g} s", "look for what hangs behind the line before")
            return
        if isinstance(check, BaseException):
            raise check
        if check is None:
            return
        yield check
