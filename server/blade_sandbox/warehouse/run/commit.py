"""A write as one version of its table: what is kept of the version before, the change rows, the line in the log.

All of it within the caller's right to write and one transaction of DuckDB, so that it happens as a whole or not at all.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from blade_sandbox.warehouse.lake.change_feed import ChangeRows
from blade_sandbox.warehouse.lake.history import History
from blade_sandbox.warehouse.lake.lakehouse import Cursor, Lakehouse
from blade_sandbox.warehouse.lake.table_names import TableName
from blade_sandbox.warehouse.run.stale import StaleVersionError
from blade_sandbox.warehouse.statements import RowChanges, Write

Counted = list[tuple[Any, ...]]
"""What the last step answered: the number of rows changed, or of a MERGE an action a row."""


def commit(cursor: Cursor, write: Write, lakehouse: Lakehouse) -> Counted:
    """Do a write and log it.

    Raises:
        StaleVersionError: the table's change data feed was switched on since the statement was translated.
    """
    history, name = lakehouse.history, write.table
    exists = bool(lakehouse.tables(name))
    recorded = exists and history.metadata.of(cursor, name).records_changes
    if recorded and write.counts and not (write.changes or write.whole):
        raise StaleVersionError(f"the change data feed of {'.'.join(name.parts)} has been switched on")
    version, at = history.next(cursor, name)
    if exists:
        history.keep(cursor, name)
    changes = history.feed.open(cursor, name, version, at) if recorded else None
    complete = changes is None or not write.whole or changes.add_all(cursor, "delete")
    if changes is not None and write.changes is not None:
        counted = _changing(cursor, write, write.changes, changes)
    else:
        counted = run_steps(cursor, write.steps, write.values)
    if write.drops:
        history.dropped(cursor, name)
        return counted
    name = _log(cursor, write, history, at)
    if history.metadata.of(cursor, name).records_changes:
        changes = history.feed.open(cursor, name, history.latest(cursor, name), at)
        if write.whole:
            complete = changes.add_all(cursor, "insert") and complete
        history.feed.close(cursor, changes, complete=complete)
    return counted


def _log(cursor: Cursor, write: Write, history: History, at: datetime.datetime) -> TableName:
    """The name that the table has now."""
    if write.renamed is not None:
        history.renamed(cursor, write.table, write.renamed)
        return write.renamed
    if write.creates is not None:
        history.created(cursor, write.table, write.operation, properties=write.creates, at=at)
        return write.table
    if write.sets:
        history.metadata.changed(cursor, write.table, write.sets)
    history.written(cursor, write.table, write.operation, parameters=write.parameters, at=at)
    return write.table


def run_steps(cursor: Cursor, steps: tuple[str, ...], values: Mapping[str, Any]) -> Counted:
    """Run the steps of a write alone."""
    counted: Counted = []
    for step in steps:
        counted = cursor.execute(step, _used(step, values)).fetchall()
    return counted


def _changing(cursor: Cursor, write: Write, how: RowChanges, changes: ChangeRows) -> Counted:
    if how.before:
        changes.add(cursor, "update_preimage", how.before, _used(how.before, write.values))
    run_steps(cursor, write.steps[:-1], write.values)
    returned = cursor.sql(how.step, params=_used(how.step, write.values)).to_arrow_table()
    changes.add_returned(cursor, how.kind, returned)
    if how.kind:
        return [(returned.num_rows,)]
    return [(action,) for action in returned.column(0).to_pylist()]


def _used(step: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in values.items() if f"${name}" in step} or None
