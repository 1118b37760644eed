"""OPTIMIZE, VACUUM, ANALYZE TABLE, EXPLAIN: statements about a table's files and plans, which change no data.

There are no files here, so the first three check the table's name and answer as for a table with nothing to do.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from blade_sandbox.warehouse.commands.show import full, strings
from blade_sandbox.warehouse.errors import syntax_error
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.statements import NO_ROWS, Action
from blade_sandbox.warehouse.words import Words

_METRICS = pa.struct(
    [("numFilesAdded", pa.int64()), ("numFilesRemoved", pa.int64()), ("totalFilesSkipped", pa.int64())]
)


def optimize(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    """OPTIMIZE table [WHERE ...] [ZORDER BY (...)]: one row of path and metrics."""
    name = full(session, words.name())
    words.rest()

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        lakehouse.require_table(name)
        metrics = {"numFilesAdded": 0, "numFilesRemoved": 0, "totalFilesSkipped": 1}
        return pa.table({"path": pa.array([".".join(name.parts)]), "metrics": pa.array([metrics], _METRICS)})

    return Action(run=run)


def vacuum(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    """VACUUM table [RETAIN n HOURS] [DRY RUN]: the path; versions are not removed."""
    name = full(session, words.name())
    words.rest()

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        lakehouse.require_table(name)
        return strings(["path"], [(".".join(name.parts),)])

    return Action(run=run)


def analyze(words: Words, session: Session, lakehouse: Lakehouse) -> Action:
    """ANALYZE TABLE table COMPUTE STATISTICS ...: no rows."""
    if not words.accept("TABLE"):
        raise syntax_error("ANALYZE")
    name = full(session, words.name())
    words.rest()

    def run(cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        lakehouse.require_table(name)
        return NO_ROWS

    return Action(run=run)
