"""A write as one version of its table: the version before it is kept as far as needed, the change rows and the log are written.

All of it within the caller's right to write and one transaction of DuckDB, so that it happens as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blade_sandbox.warehouse.lake.change_feed import ChangeRows
from blade_sandbox.warehouse.lake.lakehouse import Cursor, Lakehouse
from blade_sandbox.warehouse.run.stale import StaleVersionError
from blade_sandbox.warehouse.statements import Write

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
    if changes is not None and write.whole:
        changes.add_all(cursor, "delete")
    if changes is not None and write.changes is not None:
        counted = _changing(cursor, write, changes)
    else:
        counted = run_steps(cursor, write.steps, write.values)
    if write.drops:
        history.dropped(cursor, name)
        return counted
    if write.renamed is not None:
        name = write.renamed
        history.renamed(cursor, write.table, name)
        version = history.latest(cursor, name)
    elif write.creates is not None:
        history.created(cursor, name, write.operation, properties=write.creates, at=at)
    else:
        if write.sets:
            history.metadata.changed(cursor, name, write.sets)
        history.written(cursor, name, write.operation, parameters=write.parameters, at=at)
    if history.metadata.of(cursor, name).records_changes:
        changes = history.feed.open(cursor, name, version, at)
        if write.whole:
            changes.add_all(cursor, "insert")
        history.feed.close(cursor, changes)
    return counted


def run_steps(cursor: Cursor, steps: tuple[str, ...], values: Mapping[str, Any]) -> Counted:
    """Run the steps of a write alone."""
    counted: Counted = []
    for step in steps:
        counted = cursor.execute(step, _used(step, values)).fetchall()
    return counted


def _changing(cursor: Cursor, write: Write, changes: ChangeRows) -> Counted:
    assert write.changes is not None
    if before := write.changes.before:
        changes.add(cursor, "update_preimage", before, _used(before, write.values))
    run_steps(cursor, write.steps[:-1], write.values)
    step = write.changes.step
    returned = cursor.sql(step, params=_used(step, write.values)).to_arrow_table()
    changes.add_returned(cursor, write.changes.kind, returned)
    if write.changes.kind:
        return [(returned.num_rows,)]
    return [(action,) for action in returned.column(0).to_pylist()]


def _used(step: str, values: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in values.items() if f"${name}" in step} or None
