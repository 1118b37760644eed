"""What a SQL text turns into: one of three things an operation can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from blade_sandbox.warehouse.lake.lakehouse import Cursor
from blade_sandbox.warehouse.lake.table_names import TableName


@dataclass(frozen=True, kw_only=True)
class Query:
    """A SELECT in DuckDB's dialect.

    Attributes:
        sql: the statement; parameters are ``$p0``, ``$p1``, ...
        values: what to bind to them.
        relations: tables made for this statement alone (information_schema), by the name ``sql`` uses.
        pinned: tables read as the version that was current when the statement was translated.
        changes: tables whose change rows are read, with the first and last of their versions.
    """

    sql: str
    values: Mapping[str, Any] = field(default_factory=dict)
    relations: Mapping[str, pa.Table] = field(default_factory=dict)
    pinned: Mapping[TableName, int] = field(default_factory=dict)
    changes: Sequence[tuple[TableName, int, int]] = ()


@dataclass(frozen=True, kw_only=True)
class RowChanges:
    """How the last step of a write is run instead where the table's change rows are recorded.

    Attributes:
        step: it returns the rows changed; a MERGE before them, in a column of its own, what became of each.
        kind: the change type of those rows; empty for MERGE.
        before: a SELECT of the rows as they are before an update; empty if nothing is updated.
    """

    step: str
    kind: str
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Write:
    """Statements that change one table, run as one transaction.

    Attributes:
        table: the table changed; its old version is kept as far as needed.
        operation: the word DESCRIBE HISTORY shows: ``WRITE``, ``UPDATE``, ``CREATE TABLE``.
        steps: statements in DuckDB's dialect, each with the names of the values it binds.
        counts: names of the columns that tell the rows changed; none for DDL.
        zeros: columns of an answer of one row that tells of no files.
        empty: the answer has the columns of ``counts`` and no row.
        drops: the table is gone afterwards.
        renamed: the name that the table has afterwards.
        changes: of a statement that changes some rows of a table whose change data feed is on.
        whole: all rows that there were are gone afterwards, and all that there are then are new.
        creates: the properties of the table, which is another one afterwards; None: it stays the same table.
        sets: properties that change; None as a value: which go.
        parameters: what DESCRIBE HISTORY shows beside the operation.
    """

    table: TableName
    operation: str
    steps: tuple[str, ...]
    values: Mapping[str, Any] = field(default_factory=dict)
    relations: Mapping[str, pa.Table] = field(default_factory=dict)
    counts: tuple[str, ...] = ()
    zeros: tuple[str, ...] = ()
    empty: bool = False
    drops: bool = False
    renamed: TableName | None = None
    changes: RowChanges | None = None
    whole: bool = False
    creates: Mapping[str, str] | None = None
    sets: Mapping[str, str | None] = field(default_factory=dict)
    parameters: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something done without a query: SHOW, USE, CREATE SCHEMA. Spark's plans call these commands, too.

    Attributes:
        run: does it and returns the rows of the answer.
        staging: the answer tells the driver to move a file (PUT, GET, REMOVE).
    """

    run: Callable[[Cursor], pa.Table]
    staging: bool = False


Statement = Query | Write | Command
