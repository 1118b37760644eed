"""How many lines the log gets of streams that end at one moment."""

from __future__ import annotations

import time

import pytest

from blade_server.rpc.around.log import Sampling


def test_of_streams_so_many_a_second_are_written_and_the_next_tells_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    sampling = Sampling(per_s=3)

    first = [sampling.left_out() for _ in range(10)]
    now[0] = 101.5
    then = [sampling.left_out() for _ in range(2)]

    assert first == [0, 0, 0, *[None] * 7]
    assert then == [7, 0]
