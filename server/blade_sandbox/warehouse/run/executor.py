"""Runs statements on DuckDB and collects their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import duckdb
import pyarrow as pa

from blade_sandbox.warehouse.errors import unsupported
from blade_sandbox.warehouse.lake import sql_types
from blade_sandbox.warehouse.lake.lakehouse import Cursor, Lakehouse
from blade_sandbox.warehouse.lake.table_names import identifier
from blade_sandbox.warehouse.run.commit import Counted, commit, run_steps
from blade_sandbox.warehouse.run.operation import Operation
from blade_sandbox.warehouse.run.result import Result
from blade_sandbox.warehouse.run.stale import StaleVersionError
from blade_sandbox.warehouse.run.wire_format import Column, WireFormat
from blade_sandbox.warehouse.statements import Query, Statement, Write

BATCH_ROWS = 8192


class Executor:
    """Runs one statement at a time for each operation; operations run side by side."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse

    def run(
        self,
        operation: Operation,
        statement: Statement,
        wire: WireFormat,
        row_limit: int | None = None,
        drop_rows: Callable[[], int] = lambda: 0,
    ) -> Result:
        """Run a statement to its end and return the complete result.

        Raises:
            Exception: from DuckDB, or SqlError.
        """
        cursor = self._lakehouse.cursor()
        operation.interruptible(cursor.interrupt)
        try:
            if operation.session.zone != sql_types.TIME_ZONE:
                cursor.execute(f"SET TimeZone = '{operation.session.zone}'")
            if isinstance(statement, Query):
                result = self._query(cursor, operation, statement, wire, row_limit)
                result.finish(drop_rows())
            elif isinstance(statement, Write):
                result = self._write(cursor, operation, statement, wire)
            else:
                result = table_result(statement.run(cursor), wire)
                result.staging = statement.staging
            return result
        finally:
            operation.interruptible(None)
            cursor.close()

    def _query(
        self,
        cursor: Cursor,
        operation: Operation,
        query: Query,
        wire: WireFormat,
        row_limit: int | None,
    ) -> Result:
        _register(cursor, query.relations)
        relation = cursor.sql(query.sql, params=dict(query.values) or None)
        columns = _columns(relation, operation.session.zone)
        result = Result(columns=columns, wire=wire)
        try:
            reader = _readable(relation, columns).to_arrow_reader(BATCH_ROWS)
            # The reader has its snapshot now. Had a write come between, it is of a later version than asked for.
            self._check_pinned(query)
            for batch in reader:
                if operation.cancelled.is_set():
                    break
                result.append(batch if row_limit is None else batch.slice(0, row_limit - result.appended))
                if row_limit is not None and result.appended >= row_limit:
                    break
        except BaseException:
            result.close()
            raise
        return result

    def _check_pinned(self, query: Query) -> None:
        if not query.pinned and not query.changes:
            return
        cursor = self._lakehouse.cursor()
        try:
            for name, version in query.pinned.items():
                if self._lakehouse.history.latest(cursor, name) != version:
                    raise StaleVersionError(f"version {version} of {'.'.join(name.parts)} is no longer the current one")
            for name, first, last in query.changes:
                self._lakehouse.history.feed.changes(cursor, name, first, last)
        finally:
            cursor.close()

    def _write(self, cursor: Cursor, operation: Operation, write: Write, wire: WireFormat) -> Result:
        _register(cursor, write.relations)
        transaction = operation.session.transaction
        with self._lakehouse.writing(operation.cancelled):
            cursor.execute("BEGIN")
            try:
                if transaction is None:
                    counted = commit(cursor, write, self._lakehouse)
                else:
                    counted = run_steps(cursor, write.steps, write.values)
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
        if transaction is not None:
            transaction.written[write.table] = write.operation
        if write.zeros:
            return table_result(pa.table({name: pa.array([0], pa.int64()) for name in write.zeros}), wire)
        if not write.counts:
            return table_result(pa.table({}), wire)
        if write.empty:
            return table_result(pa.table({name: pa.array([], pa.int64()) for name in write.counts}), wire)
        counts = _counts(write.counts, counted)
        operation.changed_rows = counts[0]
        columns = {name: pa.array([count], pa.int64()) for name, count in zip(write.counts, counts, strict=True)}
        return table_result(pa.table(columns), wire)


def table_result(table: pa.Table, wire: WireFormat) -> Result:
    """A result made of a table built here."""
    columns = [Column(name=field.name, type=sql_types.from_arrow(field.type)) for field in table.schema]
    result = Result(columns=columns, wire=wire)
    for batch in table.to_batches():
        result.append(batch)
    result.finish()
    return result


def _register(cursor: Cursor, relations: Mapping[str, pa.Table]) -> None:
    for name, table in relations.items():
        cursor.register(name, table)


def _readable(relation: duckdb.DuckDBPyRelation, columns: list[Column]) -> duckdb.DuckDBPyRelation:
    """The relation with every VARIANT as JSON text, which is how it travels."""
    if not any(column.type == sql_types.VARIANT for column in columns):
        return relation
    return relation.project(
        ", ".join(
            f"sandbox_variant_json(#{position}) AS {identifier(column.name)}"
            if column.type == sql_types.VARIANT
            else f"#{position} AS {identifier(column.name)}"
            for position, column in enumerate(columns, start=1)
        )
    )


def _columns(relation: duckdb.DuckDBPyRelation, zone: str) -> list[Column]:
    try:
        return [
            Column(name=name, type=sql_types.in_zone(sql_types.from_duckdb(kind), zone))
            for name, kind in zip(relation.columns, relation.types, strict=True)
        ]
    except ValueError as exc:
        raise unsupported(str(exc)) from exc


def _counts(names: tuple[str, ...], counted: Counted) -> list[int]:
    """The numbers for the count columns: DuckDB gives one number, or for MERGE one action a row."""
    if "num_updated_rows" in names:
        actions = [str(row[0]) for row in counted]
        parts = [actions.count(action) for action in ("UPDATE", "DELETE", "INSERT")]
        return [sum(parts), *parts]
    changed = int(counted[0][0]) if counted else 0
    return [changed] * len(names)
