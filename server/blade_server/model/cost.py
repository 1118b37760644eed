"""What statements took in the warehouse; see `blade.v1.Cost`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

KEPT = timedelta(days=400)
"""Costs of sources are kept for so long: a year and a month can be compared."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Sums over statements. `warehouse_ms`: how long they ran; `bytes_read`: in Arrow's form, uncompressed."""

    statements: int = 0
    warehouse_ms: int = 0
    rows_read: int = 0
    bytes_read: int = 0

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            statements=self.statements - other.statements,
            warehouse_ms=self.warehouse_ms - other.warehouse_ms,
            rows_read=self.rows_read - other.rows_read,
            bytes_read=self.bytes_read - other.bytes_read,
        )


NO_COST = Cost()


@dataclass(frozen=True, kw_only=True)
class SourceCost:
    """Of one source; `data_type` is empty for one that was removed."""

    source: str
    data_type: str
    cost: Cost
