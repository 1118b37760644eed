"""What was seen of servers' signs of life, and what of it a database lacks."""

from __future__ import annotations

from blade_server.storage.engine.witness import KEPT_S, joined, missing

NOW_S = 1e9
OLD_S = NOW_S - KEPT_S - 1


def test_a_count_that_fell_is_missed():
    assert "50 signs of life of server x where 200" in (missing({"x": (200, NOW_S)}, {"x": (50, NOW_S)}, NOW_S) or "")
    assert missing({"x": (1, NOW_S)}, {}, NOW_S) is not None
    assert missing({"x": (200, NOW_S)}, {"x": (200, NOW_S), "y": (1, NOW_S)}, NOW_S) is None


def test_a_server_that_was_forgotten_and_began_again_is_not_missed():
    seen = joined({"x": (200, OLD_S)}, {"y": (1, NOW_S)})
    assert missing({"x": (200, OLD_S)}, {"x": (50, NOW_S)}, NOW_S) is None
    assert joined({"x": (200, OLD_S)}, {"x": (50, NOW_S)}) == {"x": (50, NOW_S)}
    assert joined({"x": (50, NOW_S)}, {"x": (200, OLD_S)}) == {"x": (50, NOW_S)}
    assert seen == {"y": (1, NOW_S)}


def test_the_higher_count_stays():
    assert joined({"x": (7, NOW_S)}, {"x": (6, NOW_S + 1)}) == {"x": (7, NOW_S)}
