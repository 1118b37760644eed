"""Shared reads: fewer questions, and never an answer from before the question."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import pytest

from blade_server.rpc.shared_reads import SharedReads


class Shelf:
    """What is read from; a read can be held up."""

    def __init__(self) -> None:
        self.values = {"a": 1, "b": 2}
        self.reads: list[list[str]] = []
        self.open = asyncio.Event()
        self.began = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, keys: Collection[str]) -> Mapping[str, int]:
        self.reads.append(sorted(keys))
        found = {key: self.values[key] for key in keys if key in self.values}
        self.began.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return found


def test_those_who_ask_while_a_read_is_under_way_share_the_next_one():
    async def scene() -> None:
        shelf = Shelf()
        shared = SharedReads(shelf.read)
        first = asyncio.create_task(shared.get("a"))
        await shelf.began.wait()
        others = [asyncio.create_task(shared.get(key)) for key in ("a", "b", "a", "c")]
        await asyncio.sleep(0)
        shelf.values["a"] = 10
        shelf.open.set()
        assert await first == 1
        assert await asyncio.gather(*others) == [10, 2, 10, None]  # read after they asked
        assert shelf.reads == [["a"], ["a", "b", "c"]]
        assert await shared.get("b") == 2

    asyncio.run(scene())


def test_an_error_reaches_all_who_asked_and_is_not_remembered():
    async def scene() -> None:
        shelf = Shelf()
        shelf.open.set()
        shelf.error = LookupError("away")
        shared = SharedReads(shelf.read)
        answers = await asyncio.gather(shared.get("a"), shared.get("b"), return_exceptions=True)
        assert answers == [shelf.error, shelf.error]
        shelf.error = None
        assert await shared.get("a") == 1

    asyncio.run(scene())


def test_one_who_leaves_takes_the_answer_from_nobody_else():
    async def scene() -> None:
        shelf = Shelf()
        shared = SharedReads(shelf.read)
        leaving, staying = asyncio.create_task(shared.get("a")), asyncio.create_task(shared.get("a"))
        await shelf.began.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        shelf.open.set()
        assert await staying == 1

    asyncio.run(scene())
