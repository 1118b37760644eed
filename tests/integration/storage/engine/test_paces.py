"""Rates that hold over all replicas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blade_server.storage.database import Database
from blade_server.storage.engine.paces import PaceStore


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def test_each_reservation_is_behind_the_last(database):
    paces = PaceStore(database)
    assert paces.reserve("source:a", 10, 1.0) == 0.0
    assert 9 < paces.reserve("source:a", 10, 1.0) <= 10
    assert paces.reserve("source:b", 10, 1.0) == 0.0


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 1e-9, 1e300])
def test_a_rate_may_be_any_number_above_none(database, rate):
    paces = PaceStore(database)
    for _ in range(3):
        assert paces.reserve("source:a", 1000, rate) >= 0.0


def test_a_hold_may_be_any_number_of_seconds(database):
    paces = PaceStore(database)
    paces.hold("catalog", 1e300)
    assert paces.held_for("catalog") > 1e6
