"""`blade serve` whose QueryArrow has its rows in memory: what is left is the stream itself. For figures only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import rows

from blade_sandbox import leash
from blade_server.core.direct.queries import Queries
from blade_server.model import RowQuery
from blade_server.model.access import Caller

ROWS = rows.batch(0, int(os.environ["BENCH_ROWS"]))


class Memory:
    schema = ROWS.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(ROWS.to_batches(max_chunksize=10_000))

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def arrow(self: Queries, _: RowQuery, *, by: Caller) -> Any:
    return Memory()


Queries.arrow = arrow  # type: ignore[method-assign]

if __name__ == "__main__":
    leash.main()
