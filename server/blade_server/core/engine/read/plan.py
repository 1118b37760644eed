"""What exactly a job runs: its statement over fixed versions of its tables, and how many rows that has."""

from __future__ import annotations

import logging
from typing import Any

from blade_server.core import sql
from blade_server.errors import BladeError, Reason, WarehouseRefused, WarehouseUnavailable
from blade_server.model import MAX_ITEMS, Plan
from blade_server.warehouse import Warehouse

log = logging.getLogger(__name__)

MAX_BATCHES = 2**31
"""Of one job. The ledger has 32 bits for the number of a batch in a claim; half of them are for batches not full."""


def make_plan(warehouse: Warehouse, statement: str, *, batch_size: int) -> Plan:
    """Pins the tables to their versions of now and counts the rows; once for a job, so that re-runs see the same rows.

    Raises what the warehouse raises.
    """
    pinned = sql.pin(statement, versions_of(warehouse, statement))
    return Plan(statement=pinned, announced=announced_rows(warehouse, pinned, batch_size=batch_size))


def versions_of(warehouse: Warehouse, statement: str) -> dict[str, int]:
    """The newest versions of the tables that a statement reads, by their quoted full names.

    What has no versions (a view, another format) is left out. Raises what the warehouse raises.
    """
    versions: dict[str, int] = {}
    for table in sql.tables(statement):
        try:
            versions[table] = int(_scalar(warehouse, sql.history(table)))
        except WarehouseRefused:
            log.info("%s has no versions: a re-run sees it as it is then", table)
    return versions


def announced_rows(warehouse: Warehouse, statement: str, *, batch_size: int) -> int:
    """How many rows a statement has. Raises BladeError for more than a job can take, and what the warehouse raises."""
    announced = count_rows(warehouse, statement)
    most = min(MAX_ITEMS, MAX_BATCHES * batch_size)
    if announced > most:
        raise BladeError(
            f"the query has {announced} rows, and a job with batches of {batch_size} takes at most {most}; split it "
            "with a WHERE",
            reason=Reason.INVALID_SQL,
        )
    return announced


def count_rows(warehouse: Warehouse, statement: str) -> int:
    """How many rows a statement has now."""
    return int(_scalar(warehouse, sql.count(statement)))


def _scalar(warehouse: Warehouse, statement: str) -> Any:
    result = warehouse.execute(statement, at_once=True)
    try:
        for batch in result:
            return batch.column(0)[0].as_py()
        # A count always has a row: the answer was lost, and the driver asked for what comes after it.
        raise WarehouseUnavailable("the warehouse sent no row for a count; the query can be repeated")
    finally:
        result.close()
