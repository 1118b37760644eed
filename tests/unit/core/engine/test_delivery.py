"""One pass over a result, where it ends before it began."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from blade_server.core.engine.delivery import Delivery


def test_a_pass_whose_reader_could_not_be_started_can_be_left(monkeypatch):
    def full(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    cancelled: list[bool] = []
    fake: Any = SimpleNamespace(cancel=lambda: cancelled.append(True), returned=deque())
    delivery = Delivery(
        warehouse=fake,
        statement="",
        transform=fake,
        ledger=fake,
        only=None,
        inbox=fake,
        catalog=fake,
        settled_at=0.0,
        data_source="d",
        batch_size=1,
        first_block=0,
        recorder=fake,
        pool=fake,
        name="job-1",
    )
    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(RuntimeError, match="new thread"):
        delivery.start()
    delivery.leave()
    assert cancelled
