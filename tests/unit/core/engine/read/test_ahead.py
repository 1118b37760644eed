"""What is made ahead: in its order, one of it, in a thread that ends with whoever wants it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from contextvars import ContextVar
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.waiting import wait_until
from tests.unit.core.engine.read.test_reader import SOURCE, Result

from blade_server.core.engine.ledger import Ledger, Past
from blade_server.core.engine.read.ahead import one_ahead
from blade_server.core.engine.read.reader import Pass, Reader
from blade_server.core.engine.sync.comparison import Comparison, Wanted
from blade_server.core.engine.sync.known import LookedUpItems
from blade_server.core.transform.transform import Transform
from blade_server.errors import StorageUnavailable

NAME = "made ahead"


def running(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(name)]


def test_all_of_it_comes_in_its_order_and_the_thread_ends():
    assert list(one_ahead(iter(range(1000)), name=NAME)) == list(range(1000))
    wait_until(lambda: not running(NAME))


def test_what_making_one_raises_comes_after_those_before_it():
    def elements() -> Iterator[int]:
        yield 1
        raise ValueError("no second one")

    made = one_ahead(elements(), name=NAME)
    assert next(made) == 1
    with pytest.raises(ValueError, match="no second one"):
        next(made)
    wait_until(lambda: not running(NAME))


def test_no_more_than_one_is_ahead_and_whoever_leaves_ends_the_thread():
    made: list[int] = []

    def elements() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    ahead = one_ahead(elements(), name=NAME)
    with closing(ahead):
        for wanted in range(3):
            assert next(ahead) == wanted
            wait_until(lambda wanted=wanted: len(made) == wanted + 2)
    wait_until(lambda: not running(NAME))
    assert made == [0, 1, 2, 3]


def test_it_is_made_in_the_context_of_whoever_wants_it():
    about: ContextVar[str] = ContextVar("about")
    about.set("this job")
    assert list(one_ahead((about.get() for _ in range(3)), name=NAME)) == ["this job"] * 3


class Away:
    """What a sync knows, in a PostgreSQL that goes away."""

    def lows(self, _sync: str) -> list[bytes]:
        return [b"\0" * 16]

    def blocks_at(self, _sync: str, _lows: list[bytes]) -> Any:
        raise StorageUnavailable("away")


def test_a_reader_that_fails_leaves_no_thread_behind():
    store: Any = Away()
    warehouse: Any = Result(pa.RecordBatch.from_pydict({"id": pa.array(range(100_000))}))
    reading = Pass(
        warehouse=warehouse,
        statement="",
        transform=lambda schema: Transform(SOURCE, schema, known_classifications=("UNCLASS",), metadata={}),
        ledger=Ledger(Past(np.zeros(0, dtype=np.uint64)), lambda _keys: set()),
        comparison=Comparison(LookedUpItems(store, "s"), Wanted()),
    )
    told: list[Any] = []
    Reader(reading, told.append).run()
    assert [type(one) for one in told] == [StorageUnavailable]
    wait_until(lambda: not running("transform"), 5)
