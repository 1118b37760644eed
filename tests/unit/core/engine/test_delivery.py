"""One pass over a result, where it ends before it began."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from blade_server.core.engine.delivery import Delivery
from blade_server.core.engine.read.reader import Pass


def test_a_pass_whose_reader_could_not_be_started_can_be_left(monkeypatch):
    def full(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    cancelled: list[bool] = []
    fake: Any = SimpleNamespace(cancel=lambda: cancelled.append(True), returned=deque())
    job = SimpleNamespace(job_id="job-1", spec=SimpleNamespace(batch_size=1), source=SimpleNamespace(data_source="d"))
    run: Any = SimpleNamespace(
        tools=SimpleNamespace(catalog=fake),
        recorder=fake,
        control=fake,
        claim=SimpleNamespace(job=job),
        inbox=SimpleNamespace(put=fake),
    )
    delivery = Delivery(run, Pass(warehouse=fake, statement="", transform=fake, ledger=fake), fake)
    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(RuntimeError, match="new thread"):
        delivery.start()
    delivery.leave()
    assert cancelled
