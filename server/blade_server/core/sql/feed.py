"""Statements over the change data feed of a Delta table: the last change of each item id in a range of versions.

A row before its update counts as a delete of its id: if the id stays, the row after it is the later change. What the
feed takes away and another row still has is no delete: that row is read from the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from blade_server.core.sql.item_id_sql import item_id_sql
from blade_server.core.sql.parse import quoted, render, reparse
from blade_server.core.transform.item_ids import Template
from blade_server.model import SourceConfig

_GONE = "`_change_type` IN ('delete', 'update_preimage')"
_ID, _RANK = "`_blade_item_id`", "`_blade_rank`"


def table_of(statement: str) -> str:
    """The table of a resolved query for all of its rows and columns, as its quoted full name; empty for all others."""
    tree = reparse(statement).tree
    table = tree.find(exp.Table)
    if table is None or len(table.parts) != 3:
        return ""
    name = ".".join(quoted(part.name) for part in table.parts)
    plain = reparse(f"SELECT * FROM {name}").tree  # noqa: S608  quoted
    return name if tree == plain else ""


def full_name(config: SourceConfig) -> str:
    """The table of a source, as its quoted full name."""
    return ".".join(quoted(name) for name in (config.catalog, config.schema, config.table))


def recent(table: str, versions: int) -> str:
    """Its newest versions, newest first, with `version` and `operation`."""
    return f"DESCRIBE HISTORY {table} LIMIT {versions:d}"


def detail(table: str) -> str:
    """What a Delta table is, with its `id`."""
    return f"DESCRIBE DETAIL {table}"


def at_version(table: str, version: int) -> str:
    """All rows of a table as they were."""
    return f"SELECT * FROM {table} VERSION AS OF {version:d}"  # noqa: S608  quoted


def change_rows(table: str, version: int) -> str:
    """At most one change row of a version; refused where there is no feed."""
    name = exp.Literal.string(table).sql("databricks")
    return f"SELECT 1 FROM table_changes({name}, {version:d}, {version:d}) LIMIT 1"  # noqa: S608  quoted


@dataclass(frozen=True, kw_only=True)
class Feed:
    """The changes of a table from version `first` to `last`, both included, by the item ids of its rows.

    `schema` is that of the table at `last`. All methods raise TemplateError where SQL cannot write the ids.
    """

    table: str
    first: int
    last: int
    template: str
    schema: pa.Schema

    def count(self) -> str:
        """How many ids have a delete as their last change, and how many new rows had no id; one row."""
        gone = f"COUNT(CASE WHEN {self._gone} THEN 1 END) AS `gone`"
        without = f"COUNT(CASE WHEN {_ID} IS NULL AND NOT {_GONE} THEN 1 END) AS `without_id`"
        return f"SELECT {gone}, {without} FROM ({self._last_changes}) AS `last`"  # noqa: S608  quoted

    def gone(self) -> str:
        """The ids whose last change is a delete and that no row has any more."""
        there = f"SELECT {self._id} AS `there` FROM {self._now}"  # noqa: S608  quoted
        held = f"SELECT 1 FROM ({there}) AS `now` WHERE `now`.`there` = `last`.{_ID}"  # noqa: S608  quoted
        return (
            f"SELECT `last`.{_ID} AS `item_id` FROM ({self._last_changes}) AS `last` "  # noqa: S608  quoted
            f"WHERE {self._gone} AND NOT EXISTS ({held})"
        )

    def rows(self, *, gone: bool, without_id: bool, ids: Sequence[str]) -> str:
        """The rows that changed last, and those of `ids`.

        Where ids may be `gone`: the rows that have them all the same. Where rows came `without_id`: all that are so.
        """
        columns, last = self._columns, self._last_changes
        changed = f"NOT {_GONE} AND {_RANK} = 1 AND {_ID} IS NOT NULL"
        parts = [f"SELECT {columns} FROM ({last}) AS `last` WHERE {changed}"]  # noqa: S608  quoted
        if gone:
            taken = f"SELECT {_ID} FROM ({last}) AS `last` WHERE {self._gone}"  # noqa: S608  quoted
            parts.append(f"SELECT {columns} FROM {self._now} WHERE {self._id} IN ({taken})")  # noqa: S608  quoted
        if without_id:
            parts.append(f"SELECT {columns} FROM {self._now} WHERE {self._id} IS NULL")  # noqa: S608  quoted
        if ids:
            known = f"SELECT {_ID} FROM ({last}) AS `last` WHERE {_ID} IS NOT NULL"  # noqa: S608  quoted
            wanted = f"{self._among(ids)} AND {self._id} NOT IN ({known})"
            parts.append(f"SELECT {columns} FROM {self._now} WHERE {wanted}")  # noqa: S608  quoted
        return " UNION ALL ".join(parts)

    def rows_of(self, ids: Sequence[str]) -> str:
        """The rows of `ids`: all there is to read where no version lies between."""
        wanted = self._among(ids) if ids else "FALSE"
        return f"SELECT {self._columns} FROM {self._now} WHERE {wanted}"  # noqa: S608  quoted

    def there(self, ids: Sequence[str]) -> str:
        """Which of these ids rows have."""
        return f"SELECT {self._id} AS `item_id` FROM {self._now} WHERE {self._among(ids)}"  # noqa: S608  quoted

    @property
    def _gone(self) -> str:
        return f"{_GONE} AND {_RANK} = 1 AND {_ID} IS NOT NULL"

    @property
    def _now(self) -> str:
        return f"{self.table} VERSION AS OF {self.last:d}"

    @property
    def _columns(self) -> str:
        return ", ".join(quoted(name) for name in self.schema.names)

    @property
    def _id(self) -> str:
        return f"({render(item_id_sql(Template.parse(self.template), {one.name: one.type for one in self.schema}))})"

    @property
    def _last_changes(self) -> str:
        name = exp.Literal.string(self.table).sql("databricks")
        order = f"`_commit_version` DESC, CASE WHEN {_GONE} THEN 1 ELSE 0 END"
        return (
            f"SELECT {self._columns}, `_change_type`, {_ID}, "  # noqa: S608  quoted
            f"ROW_NUMBER() OVER (PARTITION BY {_ID} ORDER BY {order}) AS {_RANK} FROM ("
            f"SELECT *, {self._id} AS {_ID} FROM table_changes({name}, {self.first:d}, {self.last:d})) AS `changed`"
        )

    def _among(self, ids: Sequence[str]) -> str:
        return f"{self._id} IN ({', '.join(exp.Literal.string(one).sql('databricks') for one in ids)})"
