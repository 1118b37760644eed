"""Another reading of a job's rows, only to look at them: no ledger, nothing sent."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from blade_server.core.engine.read.reader import CHUNK_ROWS, Pass, slices
from blade_server.core.transform.transform import Transformed


def read_items(reading: Pass) -> Iterator[Transformed]:
    """What becomes of the rows of a sync's job, some at a time. Raises what the warehouse raises."""
    result = reading.warehouse.execute(reading.statement, max_batch_rows=CHUNK_ROWS)
    try:
        order = sorted(range(len(result.schema.names)), key=result.schema.names.__getitem__)
        transform = reading.transform(pa.schema([result.schema.field(at) for at in order]))
        for batch in result:
            for part in slices(batch.select(order)):
                yield transform(part)
    finally:
        result.close()
