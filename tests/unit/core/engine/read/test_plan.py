"""A query too large to be counted exactly, or to be numbered in the ledger, is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from blade_server.core.engine.read.plan import MAX_BATCHES, make_plan
from blade_server.errors import BladeError, Reason
from blade_server.model import MAX_ITEMS


class Counting:
    """A warehouse whose only answer is how many rows there are."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def execute(self, statement: str, *, at_once: bool) -> Any:
        return self

    def __iter__(self) -> Any:
        return iter([pa.record_batch({"rows": pa.array([self._rows], pa.int64())})])

    def close(self) -> None: ...


@pytest.mark.parametrize(("batch_size", "most"), [(1, MAX_BATCHES), (100, 100 * MAX_BATCHES), (10**9, MAX_ITEMS)])
def test_a_job_takes_what_json_shows_exactly_and_its_ledger_can_number(batch_size: int, most: int) -> None:
    warehouse: Any = Counting(most)
    assert make_plan(warehouse, "SELECT 1", batch_size=batch_size).announced == most

    warehouse = Counting(most + 1)
    with pytest.raises(BladeError, match=f"at most {most}; split it") as refused:
        make_plan(warehouse, "SELECT 1", batch_size=batch_size)
    assert refused.value.reason is Reason.INVALID_SQL
