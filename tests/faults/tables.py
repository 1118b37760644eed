"""The tables of the fault suite: small, of several types, and each with a trait that a fault could break."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

STEPS = "main.faults.steps"
LONG = "main.faults.long"
DUPLICATES = "main.faults.duplicates"
WITHOUT_IDS = "main.faults.without_ids"
SHORT = "main.faults.short"
CROWD = "main.faults.crowd"

CROWD_ROWS = int(os.environ.get("BLADE_FAULT_CROWD_ROWS", "8000"))
"""Set to 100000 by hand, it takes some minutes."""

Row = Mapping[str, Any]
_START = datetime(2024, 1, 10, 10, tzinfo=UTC)


def _columns(ids: list[str | None]) -> pa.Table:
    numbers = range(len(ids))
    return pa.table(
        {
            "item_id": pa.array(ids, pa.string()),
            "tail_number": [f"AF-{number % 50:03}" for number in numbers],
            "number": pa.array(numbers, pa.int64()),
            "hours": pa.array([Decimal(number) / 4 for number in numbers], pa.decimal128(12, 2)),
            "remark": [None if number % 7 == 0 else f"späte Prüfung {number} \N{AIRPLANE}" for number in numbers],
            "classification": ["UNCLASS"] * len(ids),
            "last_modified": pa.array(
                [_START + timedelta(seconds=number) for number in numbers], pa.timestamp("us", tz="UTC")
            ),
        }
    )


def _distinct(count: int) -> pa.Table:
    return _columns([f"ITEM-{number:06}" for number in range(count)])


def _without_ids() -> pa.Table:
    """Every third row has no id, and of those every other one has an equal twin."""
    rows = _columns([None if number % 3 == 0 else f"ITEM-{number:06}" for number in range(4000)])
    nameless = rows.filter(pa.compute.is_null(rows["item_id"]))
    return pa.concat_tables([rows, nameless.slice(0, nameless.num_rows // 2)])


_TABLES = {
    STEPS: lambda: _distinct(3000),
    SHORT: lambda: _distinct(800),
    CROWD: lambda: _distinct(CROWD_ROWS),
    LONG: lambda: _distinct(16_000),
    # Four rows of each id, far apart, so that they meet across batches, chunks and crashes.
    DUPLICATES: lambda: _columns([f"ITEM-{number % 1500:06}" for number in range(6000)]),
    WITHOUT_IDS: _without_ids,
}


def write_tables(folder: Path) -> dict[str, Path]:
    """Writes all tables as Parquet files, for `blade sandbox warehouse --table`."""
    files = {}
    for name, make in _TABLES.items():
        files[name] = folder / f"{name}.parquet"
        pq.write_table(make(), files[name])
    return files


def read_rows(file: Path) -> list[Row]:
    """The rows of a table as the warehouse has them."""
    rows: list[Row] = pq.read_table(file).to_pylist()
    return rows
