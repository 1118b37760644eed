"""A blocking iterator in a thread, written as an async stream: the client's pace becomes the warehouse's pace.

The thread is at most a few messages ahead of the client. A client that leaves cancels the statement at once, also while
the warehouse is still working on it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from blade_server.core import caller

log = logging.getLogger(__name__)

LOOK_AHEAD = 4
_REFILL_AT = 1
"""The thread makes messages again once so few are left: waking it for each costs more than the message."""

M = TypeVar("M")
S = TypeVar("S", bound="Rows")


class Rows(Protocol):
    """What core gives for a query: an iterable of its own kind, with these two."""

    def cancel(self) -> None:
        """Any thread: makes the reader's next step end with an error."""

    def close(self) -> None:
        """Lets everything go; called by the reading thread."""


@dataclass(frozen=True)
class _End:
    """Closes the stream, with the error that ended it, if one did."""

    error: BaseException | None = None


async def stream(
    executor: Executor,
    open_rows: Callable[[], S],
    messages: Callable[[S], Iterable[M]],
    write: Callable[[M], Awaitable[None]],
) -> None:
    """Writes the messages that the thread makes of the rows, in order; it is at most `LOOK_AHEAD` ahead.

    Args:
        executor: where the thread comes from; one thread for the life of the stream.
        open_rows: runs in the thread; `cancel` reaches what it returns.
        messages: runs in the thread; a lazy iterable over the rows.
        write: takes a message when the client has room for it.

    Raises whatever `open_rows`, `messages` or the rows raise. Cancel it to leave early.
    """
    reader: _Reader[Any, M] = _Reader(asyncio.get_running_loop())
    run = copy_context().run
    thread = asyncio.get_running_loop().run_in_executor(executor, run, reader.read, open_rows, messages)
    try:
        while not isinstance(part := await reader.next(), _End):
            await write(part)
            del part  # else its memory is held while the thread makes the next
        if part.error is not None:
            raise part.error
    finally:
        thread.cancel()  # takes it out of the queue if it has not begun
        reader.leave()


class _Reader(Generic[S, M]):
    """The two sides of a stream: `read` is the thread's, everything else the loop's.

    Neither side wakes the other unless that one waits: a message is sent in less time than a thread takes to wake.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._has_room = threading.Condition(self._lock)
        self._parts: deque[M | _End] = deque()
        self._awaited: asyncio.Future[None] | None = None
        self._left = threading.Event()
        self._rows: S | None = None

    async def next(self) -> M | _End:
        """The next part, as soon as there is one."""
        while True:
            with self._lock:
                if self._parts:
                    part = self._parts.popleft()
                    if len(self._parts) <= _REFILL_AT:
                        self._has_room.notify()
                    return part
                self._awaited = awaited = self._loop.create_future()
            await awaited

    def read(self, open_rows: Callable[[], S], messages: Callable[[S], Iterable[M]]) -> None:
        try:
            with caller.working_for(self._left):
                self._read(open_rows(), messages)
        except BaseException as exc:
            self._put(_End(exc))
        else:
            self._put(_End())

    def _read(self, rows: S, messages: Callable[[S], Iterable[M]]) -> None:
        try:
            if self._begin(rows):
                self._send_all(messages(rows))
        finally:
            with self._lock:
                self._rows = None
            rows.close()

    def _begin(self, rows: S) -> bool:
        with self._lock:
            self._rows = rows
            if self._left.is_set():
                rows.cancel()
            return not self._left.is_set()

    def _send_all(self, messages: Iterable[M]) -> None:
        for message in messages:
            with self._has_room:
                if len(self._parts) >= LOOK_AHEAD:
                    self._has_room.wait_for(lambda: self._left.is_set() or len(self._parts) <= _REFILL_AT)
                if self._left.is_set():
                    return
            self._put(message)

    def _put(self, part: M | _End) -> None:
        with self._lock:
            self._parts.append(part)
            awaited, self._awaited = self._awaited, None
        if awaited is not None:
            with suppress(RuntimeError):  # the loop is closed: the server has gone and nobody reads
                self._loop.call_soon_threadsafe(_settle, awaited)

    def leave(self) -> None:
        """Does not wait: cancelling may ask the warehouse, so it has a thread of its own."""
        with self._has_room:
            self._left.set()
            rows = self._rows
            self._has_room.notify()
        if rows is not None:
            threading.Thread(target=_cancel, args=(rows,), name="rpc-cancel", daemon=True).start()


def _settle(awaited: asyncio.Future[None]) -> None:
    if not awaited.done():  # its call may have been cancelled
        awaited.set_result(None)


def _cancel(rows: Rows) -> None:
    try:
        rows.cancel()
    except Exception:
        log.warning("a query that its client left could not be cancelled", exc_info=True)
