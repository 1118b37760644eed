"""A table that changes, and whose change data feed is on: what a sync is tried with.

Its rows have numbers. Row 7 is the item PART-7; it has the columns that the default mapping of a source reads. Each
function is one statement, and so makes one version of the table. `execute` is that of a cursor of the driver, or
`Warehouse.run`; names are put into SQL as they are, so they must come from whoever calls this and not from outside.
"""

# ruff: noqa: S608 - see above
from __future__ import annotations

from collections.abc import Callable

Execute = Callable[[str], object]

_COLUMNS = """
    number BIGINT NOT NULL, item_id STRING NOT NULL, classification STRING, last_modified TIMESTAMP,
    status STRING, quantity INT, unit_cost DECIMAL(12, 2)
"""


def create(execute: Execute, name: str) -> None:
    """An empty table, in the place of what has the name (`catalog.schema.table`) now."""
    execute(f"CREATE OR REPLACE TABLE {name} ({_COLUMNS}) TBLPROPERTIES (delta.enableChangeDataFeed = true)")


def insert(execute: Execute, name: str, numbers: range) -> None:
    """Adds the rows of these numbers."""
    execute(
        f"INSERT INTO {name} SELECT id, concat('PART-', id), 'UNCLASS', current_timestamp(), 'NEW',"
        f" CAST(id % 40 AS INT), CAST(id % 1000 AS DECIMAL(12, 2)) FROM range({numbers.start}, {numbers.stop})"
    )


def update(execute: Execute, name: str, numbers: range, status: str = "USED") -> None:
    """Gives the rows of these numbers another status and a new last_modified."""
    execute(f"UPDATE {name} SET status = '{status}', last_modified = current_timestamp() WHERE {_among(numbers)}")


def delete(execute: Execute, name: str, numbers: range) -> None:
    """Takes the rows of these numbers out."""
    execute(f"DELETE FROM {name} WHERE {_among(numbers)}")


def _among(numbers: range) -> str:
    return f"number >= {numbers.start} AND number < {numbers.stop}"
