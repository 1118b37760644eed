"""One thread that makes the driver's calls, so that whoever waits for one is never bound to a socket.

The driver has one lock around all requests of a session and no way to interrupt one. Waiting for a future instead lets
a reader leave at once when its statement is cancelled or its time is up; the call itself ends with its own timeout.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class DriverThread:
    """Makes calls one after the other on a daemon thread of its own, which starts with the first one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, call: Callable[[], T]) -> Future[T]:
        """Queue a call. The future may be settled by somebody else first; the call is made all the same."""
        answer: Future[T] = Future()
        self._orders.put((call, answer))
        if self._thread is None:
            self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name=self._name, daemon=True)
            self._thread.start()
        return answer

    def stop(self) -> None:
        """End the thread after the calls that are queued."""
        self._orders.put(None)

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            _make(*order)
            del order


def _make(call: Callable[[], Any], answer: Future[Any]) -> None:
    try:
        result = call()
    except BaseException as exc:
        with suppress(InvalidStateError):
            answer.set_exception(exc)
    else:
        with suppress(InvalidStateError):
            answer.set_result(result)
