"""OPTIMIZE, VACUUM, ANALYZE TABLE: statements about a table's files, which change no data.

There are no files here, so they check the table's name and answer as for a table with nothing to do; VACUUM forgets old
change rows.
"""

from __future__ import annotations

import datetime

import pyarrow as pa

from blade_sandbox.warehouse.answers import answering, doing, text_table
from blade_sandbox.warehouse.errors import syntax_error
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import TokenReader
from blade_sandbox.warehouse.statements import Command

_RETAIN_HOURS = 7 * 24

_METRICS = pa.struct(
    [("numFilesAdded", pa.int64()), ("numFilesRemoved", pa.int64()), ("totalFilesSkipped", pa.int64())]
)


def optimize(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """OPTIMIZE table [WHERE ...] [ZORDER BY (...)]: one row of path and metrics."""
    name = session.full_name(reader.name())

    def build() -> pa.Table:
        lakehouse.require_table(name)
        metrics = {"numFilesAdded": 0, "numFilesRemoved": 0, "totalFilesSkipped": 1}
        return pa.table({"path": pa.array([".".join(name.parts)]), "metrics": pa.array([metrics], _METRICS)})

    return answering(build)


def vacuum(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """VACUUM table [RETAIN n HOURS] [DRY RUN]: the path. Change rows that are older go (7 days); versions do not."""
    name = session.full_name(reader.name())
    hours = reader.number() if reader.accept("RETAIN") else _RETAIN_HOURS
    reader.accept_any("HOURS", "HOUR")
    dry = reader.accept("DRY", "RUN")

    def build() -> pa.Table:
        lakehouse.require_table(name)
        if not dry:
            lakehouse.vacuum(name, datetime.timedelta(hours=hours))
        return text_table(["path"], [(".".join(name.parts),)])

    return answering(build)


def analyze(reader: TokenReader, session: Session, lakehouse: Lakehouse) -> Command:
    """ANALYZE TABLE table COMPUTE STATISTICS ...: no rows."""
    if not reader.accept("TABLE"):
        raise syntax_error("ANALYZE")
    name = session.full_name(reader.name())
    return doing(lambda: lakehouse.require_table(name))
