"""What a run over a change data feed reads, and when there is a gap in it, so that all rows have to be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from blade_server.arrow.arrays import as_text, values
from blade_server.core import sql
from blade_server.core.engine.read.plan import announced_rows, count_rows
from blade_server.core.engine.sync.sync_job import MAX_DIRTY, SyncJob
from blade_server.core.transform.item_ids import TemplateError
from blade_server.errors import Precondition, ResultTruncated, WarehouseRefused
from blade_server.model import Job, Plan
from blade_server.warehouse import Warehouse

MAX_VERSIONS = 10_000
"""A run over more versions is one over all rows."""
_NEWER = 100
"""Versions that may have come since the newest was asked for."""
_BREAKS = ("RESTORE", "CREATE", "REPLACE", "TRUNCATE", "CLONE", "WRITE")
"""Operations that may put a table into the place of another; of a WRITE, only one that overwrites."""


@dataclass(frozen=True, kw_only=True)
class _Version:
    number: int
    operation: str
    parameters: str

    @property
    def breaks(self) -> bool:
        """Whether it replaced the table as a whole."""
        if self.operation == "WRITE":
            return "overwrite" in self.parameters.casefold()
        return self.operation.startswith(_BREAKS) or " REPLACE" in self.operation


@dataclass(frozen=True, kw_only=True)
class FeedReader:
    """Reads for one job. All methods raise what the warehouse raises."""

    warehouse: Warehouse
    job: Job
    sync: SyncJob
    table: str
    """Quoted; empty: the rows are not those of one table as it is."""

    def plan(self, version: int | None) -> Plan | None:
        """The rows that changed up to a version; None: all are read, as where a column has come or gone.

        Raises Precondition (CHANGE_FEED_GAP): the next run reads all.
        """
        since = self.sync.feed_since
        if since is None:
            return None
        if not self.table or version is None:
            raise self.sync.gap("the rows are not those of one Delta table as it is")
        self._check(since, version)
        feed = self._feed(since, version)
        if version > since and _columns(feed.schema) != self._known()[1]:
            return None
        try:
            ids = self.sync.dirty_ids()
            if version > since:
                gone, without_id = self._first_row(feed.count())
                statement = feed.rows(gone=gone > 0, without_id=without_id > 0, ids=ids)
            else:
                statement = feed.rows_of(ids)
            announced = announced_rows(self.warehouse, statement, batch_size=self.job.spec.batch_size)
        except WarehouseRefused as exc:
            raise self._gap_of(exc) from exc
        except TemplateError as exc:
            raise self.sync.gap(f"SQL cannot write the item ids: {exc}") from exc
        return Plan(
            statement=statement,
            announced=announced,
            version=version,
            whole=False,
            since=str(since),
            table_id=self.sync.state.table_id,
        )

    def identity(self, version: int | None) -> str:
        """What tells the table from another one under its name, or with other columns; empty: it has no versions.

        Warns where it has no feed.
        """
        if not self.table or version is None:
            self.sync.findings.warn("every run reads all rows: they are not those of one Delta table as it is")
            return ""
        try:
            self._first_row(sql.change_rows(self.table, version))
        except WarehouseRefused as exc:
            self.sync.findings.warn(
                f"the next run may have to read all rows: version {version} has no change data feed "
                f"(delta.enableChangeDataFeed): {exc.message}"
            )
        return f"{self._id()}/{_columns(self._schema(version))}"

    def _id(self) -> str:
        try:
            rows = self._rows(sql.detail(self.table))
        except WarehouseRefused:
            return ""
        return str(rows[0].get("id") or "") if rows else ""

    def gone(self, plan: Plan) -> Iterator[Sequence[str]]:
        """The ids that the feed takes away, some at a time. Raises ResultTruncated."""
        since, version = int(plan.since), plan.version
        assert version is not None
        if version == since:
            return
        statement = self._feed(since, version).gone()
        announced, read = count_rows(self.warehouse, statement), 0
        for ids in self._ids(statement):
            read += len(ids)
            yield ids
        if read < announced:
            raise ResultTruncated(f"the warehouse announced {announced} deleted rows and sent {read}")

    def there(self, plan: Plan, ids: Sequence[str]) -> set[str]:
        """Which of these ids have rows."""
        version = plan.version
        assert version is not None
        statement = self._feed(int(plan.since), version).there(ids)
        return {one for some in self._ids(statement) for one in some} if ids else set()

    def _known(self) -> tuple[str, str]:
        """The id and the columns of the table at the last run over all rows; an empty id: nobody can tell."""
        table_id, _, columns = self.sync.state.table_id.rpartition("/")
        return table_id, columns

    def _schema(self, version: int) -> pa.Schema:
        result = self.warehouse.execute(sql.limit(sql.at_version(self.table, version), 0), at_once=True)
        result.close()
        return result.schema

    def _feed(self, since: int, version: int) -> sql.Feed:
        return sql.Feed(
            table=self.table,
            first=since + 1,
            last=version,
            template=self.job.spec.overrides.item_id or self.job.source.mapping.item_id,
            schema=self._schema(version),
        )

    def _check(self, since: int, version: int) -> None:
        """Raises Precondition unless the table is that of the last run, with all changes since."""
        known, _ = self._known()
        if version < since:
            raise self.sync.gap(f"the last run read version {since} of {self.table}, whose newest is {version}")
        if known and known != self._id():
            raise self.sync.gap(f"{self.table} is another table than at the last run")
        if version - since > MAX_VERSIONS:
            raise self.sync.gap(f"{self.table} has {version - since} versions that are newer than the last run's")
        if version == since:
            return
        found = {one.number: one for one in self._history(version - since + _NEWER)}
        for number in range(since + 1, version + 1):
            one = found.get(number)
            if one is None or one.breaks:
                what = f"replaced it as a whole ({one.operation})" if one else "is not in its history any more"
                raise self.sync.gap(f"version {number} of {self.table} {what}")

    def _history(self, versions: int) -> list[_Version]:
        return [
            _Version(
                number=int(row["version"]),
                operation=str(row.get("operation") or ""),
                parameters=str(row.get("operationParameters") or ""),
            )
            for row in self._rows(sql.recent(self.table, versions))
        ]

    def _gap_of(self, exc: WarehouseRefused) -> Precondition:
        """What Delta Lake says against the range; other refusals are what they are."""
        if not str(exc.metadata.get("error_class", "")).startswith("DELTA_"):
            return exc
        return self.sync.gap(exc.message)

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        result = self.warehouse.execute(statement, at_once=True)
        try:
            return [row for batch in result for row in batch.to_pylist()]
        finally:
            result.close()

    def _first_row(self, statement: str) -> list[Any]:
        rows = self._rows(statement)
        return list(rows[0].values()) if rows else [0, 0]

    def _ids(self, statement: str) -> Iterator[list[str]]:
        result = self.warehouse.execute(statement, max_batch_rows=MAX_DIRTY)
        try:
            for batch in result:
                yield values(as_text(batch.column(0)))
        finally:
            result.close()


def _columns(schema: pa.Schema) -> str:
    """Short for names and types: rows that a feed does not have are other items once these have changed."""
    named = sorted(f"{field.name!r} {field.type}" for field in schema)
    return blake2b("\n".join(named).encode(), digest_size=8).hexdigest()
