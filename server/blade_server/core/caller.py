"""Whether the caller for whom a thread works is still there.

A call that is cancelled, or whose deadline is over, stops waiting for its thread, which knows nothing of it. What may
take long looks here now and then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from blade_server.errors import Deadline

_gone: ContextVar[threading.Event | None] = ContextVar("gone", default=None)


@contextmanager
def working_for(left: threading.Event) -> Iterator[None]:
    """What this thread does inside is for a caller who sets `left` when he leaves."""
    token = _gone.set(left)
    try:
        yield
    finally:
        _gone.reset(token)


def known() -> bool:
    """Whether this thread works for a caller; a job's thread does not."""
    return _gone.get() is not None


def gone() -> bool:
    """Whether he has left."""
    left = _gone.get()
    return left is not None and left.is_set()


def check() -> None:
    """Raises Deadline, which nobody will hear, if he has left."""
    if gone():
        raise Deadline("the caller has left")
