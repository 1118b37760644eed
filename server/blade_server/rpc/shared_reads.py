"""Reads that are asked for at the same moment become one: many callers cost PostgreSQL little more than one.

Nothing is remembered. Each answer comes from a read that began after it was asked for, so a caller who has seen a
change never sees the state before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

V = TypeVar("V")


class SharedReads(Generic[V]):
    """Belongs to one event loop."""

    def __init__(self, read: Callable[[Collection[str]], Awaitable[Mapping[str, V]]]) -> None:
        """`read`: what there is under these keys, absent ones left out."""
        self._read = read
        self._waiting: dict[str, asyncio.Future[V | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: str) -> V | None:
        """What is there now; None: nothing. Raises what `read` raises."""
        loop = asyncio.get_running_loop()
        if key not in self._waiting:
            self._waiting[key] = loop.create_future()
        answer = self._waiting[key]
        if self._reading is None:
            self._reading = loop.create_task(self._read_all())
        return await asyncio.shield(answer)  # a caller who leaves takes it from nobody else

    async def _read_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                found = await self._read(waiting.keys())
            except BaseException as exc:
                for answer in waiting.values():
                    answer.set_exception(exc)
                    answer.exception()  # its callers may all have left
                if not isinstance(exc, Exception):
                    break
            else:
                for key, answer in waiting.items():
                    answer.set_result(found.get(key))
        self._reading = None
