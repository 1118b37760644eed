"""The rows of every figure: maintenance records of ten columns, about 280 bytes as JSON, the same on every machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

TABLE = "main.blade.bench_{rows}"
DATA_TYPE = "bench-{rows}"
GROUP = 1_000_000


def table_name(rows: int) -> str:
    return TABLE.format(rows=rows)


def data_type(rows: int) -> str:
    return DATA_TYPE.format(rows=rows)


def batch(start: int, rows: int) -> pa.Table:
    """Rows `start` to `start + rows` of the endless table."""
    number = pa.array(np.arange(start, start + rows, dtype=np.int64))
    text = number.cast(pa.string())

    def picked(*words: str) -> pa.Array:
        return pa.array(words).take(pa.array((number.to_numpy() * 2654435761 >> 7) % len(words)))

    seconds = pc.add(pc.multiply(number, 37), int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()))
    return pa.table(
        {
            "item_id": pc.binary_join_element_wise("MAINT", text, "-"),
            "tail_number": pc.binary_join_element_wise("AF", pc.utf8_slice_codeunits(text, 0, 3), "-"),
            "task_type": picked("scheduled", "unscheduled", "inspection", "modification"),
            "description": pc.binary_join_element_wise(
                picked("Hydraulic leak, left main gear", "Borescope of engine 2", 'Tyre "worn" to cord'), text, " no. "
            ),
            "priority": picked("LOW", "MEDIUM", "HIGH", "CRITICAL"),
            "flight_hours": pc.divide(number.cast(pa.float64()), 7.0),
            "cost": pc.binary_join_element_wise(text, "25", ".").cast(pa.decimal128(18, 2)),
            "squadron": picked("1st Maintenance Squadron", "22nd Airlift Wing", "305th Mobility Wing"),
            "classification": pa.array(["UNCLASS"]).take(pa.array(np.zeros(rows, dtype=np.int64))),
            "last_modified": seconds.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("us", "UTC")),
        }
    )


def write(rows: int, file: Path) -> Path:
    """A Parquet file of so many rows."""
    with parquet.ParquetWriter(file, batch(0, 1).schema) as writer:
        for start in range(0, rows, GROUP):
            writer.write_table(batch(start, min(GROUP, rows - start)))
    return file
