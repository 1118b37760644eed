"""What is measured of a statement: how long it ran, how it ended, what came; and whether its warehouse is there."""

from __future__ import annotations

import time

from blade_server.errors import BladeError, Reason, StatementCancelled
from blade_server.metrics.families import (
    STATEMENT_SECONDS,
    STATEMENTS,
    WAREHOUSE_BYTES,
    WAREHOUSE_ROWS,
    WAREHOUSE_UP,
)

_AWAY = frozenset({Reason.WAREHOUSE_UNAVAILABLE, Reason.WAREHOUSE_DENIED})


class Meter:
    """Of one statement, from now. `own`: it runs on the server's own warehouse.

    How it ended is counted once, with `ended`: as what was told of it first.
    """

    def __init__(self, source: str, *, own: bool) -> None:
        self._source = source
        self._own = own
        self._outcome = ""
        self._begun_s = time.monotonic()
        self._rows, self._bytes = WAREHOUSE_ROWS.labels(source), WAREHOUSE_BYTES.labels(source)

    def began(self) -> None:
        """Its first rows are here."""
        STATEMENT_SECONDS.labels(self._source).observe(time.monotonic() - self._begun_s)
        self._saw(well=True)

    def came(self, rows: int, size_bytes: int) -> None:
        """So many of its rows."""
        self._rows.inc(rows)
        self._bytes.inc(size_bytes)

    def failed(self, error: BaseException) -> None:
        """It ends with an error."""
        self._outcome = self._outcome or ("cancelled" if isinstance(error, StatementCancelled) else "error")
        reason = error.reason if isinstance(error, BladeError) else None
        if reason in _AWAY or reason is Reason.WAREHOUSE_REFUSED:
            self._saw(well=reason not in _AWAY)

    def cancelled(self) -> None:
        """Somebody ends it, unless an error did."""
        self._outcome = self._outcome or "cancelled"

    def ended(self) -> None:
        """That was all."""
        STATEMENTS.labels(self._source, self._outcome or "ok").inc()

    def _saw(self, *, well: bool) -> None:
        if self._own:
            WAREHOUSE_UP.saw(well)
