"""How much of this process reading SQL may take: little, whatever a caller sends.

Reading costs a processor about a second for 60 KB, and a thread cannot be stopped. So what is longer than a line or two
is read in a process of its own (`apart`): one at a time, for so long and no longer, and only while its caller waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from blade_server.core import caller
from blade_server.core.sql.apart import Apart
from blade_server.errors import QuotaExceeded

P = ParamSpec("P")
T = TypeVar("T")

SHORT_CHARS = 500
SHORT_NESTING = 6
"""Up to this length, and with so many brackets inside each other at most, SQL is read here: that takes a few
milliseconds, 40 for what is made to be slow. The time grows with the length, but doubles with some brackets."""
MAX_WAITING = 8
"""Callers whose SQL waits for that of another; for more, all of it could not be read before they leave."""
_LOOK_S = 0.05

_here = threading.Lock()
_apart = Apart()
_turn = threading.Lock()
_places = threading.BoundedSemaphore(1 + MAX_WAITING)


def bounded(text: Callable[..., str], field: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Bounds a function of this package that reads SQL.

    Args:
        text: the SQL in its arguments, which it takes too.
        field: of the request, where the SQL stands.

    What is bounded raises besides its own errors: Invalid if the SQL takes too long, QuotaExceeded if too much other
    SQL waits, Deadline if its caller has left.
    """

    def bind(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if _is_short(text(*args, **kwargs)):
                with _held(_here):  # side by side they would only share the interpreter, and hold up everybody else
                    return function(*args, **kwargs)
            _take_place()
            try:
                with _held(_turn):
                    return _apart.call(function, args, kwargs, field=field, wanted=lambda: not caller.gone())
            finally:
                _places.release()

        return call

    return bind


def _take_place() -> None:
    """The engine, whose callers do not leave, waits for as long as it takes."""
    if not _places.acquire(blocking=not caller.known()):
        raise QuotaExceeded(
            f"{1 + MAX_WAITING} other long SQL texts are being read on this server; try again in a moment",
            subject="SQL texts",
            retry_after_s=2.0,
        )


def _is_short(text: str) -> bool:
    depth = deepest = 0
    for character in text[: SHORT_CHARS + 1]:
        depth += (character in "([<") - (character in ")]>")
        deepest = max(deepest, depth)
    return len(text) <= SHORT_CHARS and deepest <= SHORT_NESTING


@contextmanager
def _held(lock: threading.Lock) -> Iterator[None]:
    """Raises Deadline if the caller leaves while he waits."""
    while not lock.acquire(timeout=_LOOK_S):
        caller.check()
    try:
        yield
    finally:
        lock.release()
