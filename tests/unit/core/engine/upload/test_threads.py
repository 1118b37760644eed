"""What is on its way with the upload threads, and what waits beside them."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import pytest
from tests.support.clock import Clock

from blade_server.arrow.items import Items
from blade_server.catalog import encode
from blade_server.core.engine.batches import Batch
from blade_server.core.engine.halt import Control
from blade_server.core.engine.upload.threads import WINDOW, UploadThreads
from blade_server.model import Item

ITEMS = encode("d", Items.of([Item("i0", "t", b"{}", "UNCLASS", None, {})]))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("blade_server.core.engine.upload.threads.time", clock)
    return clock


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """What was given to the threads, which do nothing."""
    sent: list[Batch] = []

    def send(self: UploadThreads, batch: Batch) -> None:
        self.flying += 1
        self._flying_bytes += batch.size_bytes
        sent.append(batch)

    monkeypatch.setattr(UploadThreads, "send", send)
    return sent


def waiting(threads: UploadThreads, number: int, due: float) -> Batch:
    """A batch that came back and waits."""
    batch = Batch(number, [b"k"], ITEMS)
    threads.send(batch)
    batch.due = due
    threads.take_back(batch)
    return batch


def upload_threads() -> UploadThreads:
    inbox: SimpleQueue[Any] = SimpleQueue()
    return UploadThreads(lambda _: [], Control(float("inf")), inbox.put, threads=1, name="x")


def test_a_batch_that_waits_occupies_no_place_and_goes_on_when_it_is_due(clock, sent):
    threads = upload_threads()
    late, soon = waiting(threads, 1, clock.now + 60), waiting(threads, 2, clock.now + 5)
    sent.clear()
    threads.send_due()
    assert (threads.flying, sent) == (0, [])
    assert threads.has_room()
    clock.now += 5
    threads.send_due()
    assert (threads.flying, sent, list(threads.returned)) == (1, [soon], [late])


def test_what_waits_does_not_grow_without_bounds(clock, sent):
    threads, waits = upload_threads(), 0
    while threads.has_room():
        waiting(threads, waits, clock.now + 60)
        waits += 1
    assert waits == WINDOW[1]
    clock.now += 60
    threads.send_due()
    assert threads.flying == WINDOW[0]
