"""What a run over a change data feed reads, and when there is a gap in it, so that all rows have to be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
_SEARCHED = 100
_BREAKS = ("RESTORE", "CREATE", "REPLACE", "TRUNCATE", "CLONE", "WRITE")
"""Operations that may put a table into the place of another; of a WRITE, only one that overwrites."""


@dataclass(frozen=True, kw_only=True)
class _Version:
    number: int
    time: str
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
        """The rows that changed up to a version; None: all are read.

        Raises Precondition (CHANGE_FEED_GAP): the next run reads all.
        """
        since = self.sync.feed_since
        if since is None:
            return None
        if not self.table or version is None:
            raise self.sync.gap("the rows are not those of one Delta table as it is")
        table_id = self._check(since, version)
        feed = self._feed(since, version)
        try:
            gone = version > since and self._scalar(feed.count_gone()) > 0
            ids = self.sync.dirty_ids()
            statement = feed.rows(gone=gone, ids=ids) if version > since else feed.nothing(ids)
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
            table_id=table_id,
        )

    def identity(self, version: int | None) -> str:
        """What tells the table at a version from another one under its name; empty: nobody can tell.

        A warning if there is no feed from there on.
        """
        if not self.table or version is None:
            self.sync.findings.warn("every run reads all rows: they are not those of one Delta table as it is")
            return ""
        try:
            self._scalar(sql.change_rows(self.table, version))
        except WarehouseRefused as exc:
            self.sync.findings.warn(
                f"the next run may have to read all rows: version {version} has no change data feed "
                f"(delta.enableChangeDataFeed): {exc.message}"
            )
        found = [one for one in self._history(_SEARCHED) if one.number == version]
        return found[0].time if found else ""

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

    def _feed(self, since: int, version: int) -> sql.Feed:
        result = self.warehouse.execute(sql.limit(sql.at_version(self.table, version), 0), at_once=True)
        result.close()
        return sql.Feed(
            table=self.table,
            first=since + 1,
            last=version,
            template=self.job.spec.overrides.item_id or self.job.source.mapping.item_id,
            schema=result.schema,
        )

    def _check(self, since: int, version: int) -> str:
        """The identity of the table, if it is that of the last run and was not replaced since."""
        if version < since:
            raise self.sync.gap(f"the last run read version {since} of {self.table}, whose newest is {version}")
        if version - since >= MAX_VERSIONS:
            raise self.sync.gap(f"{self.table} has {version - since} newer versions")
        found = {one.number: one for one in self._history(version - since + _SEARCHED)}
        last, known = found.get(since), self.sync.state.table_id
        if known and (last is None or last.time != known):
            raise self.sync.gap(f"{self.table} is another table, or its version {since} is not in its history any more")
        for number in range(since + 1, version + 1):
            one = found.get(number)
            if one is None or one.breaks:
                what = f"was replaced by {one.operation}" if one else "is not in the history any more"
                raise self.sync.gap(f"version {number} of {self.table} {what}")
        return found[version].time if version in found else ""

    def _history(self, versions: int) -> list[_Version]:
        result = self.warehouse.execute(sql.recent(self.table, versions), at_once=True)
        try:
            rows = [row for batch in result for row in batch.to_pylist()]
        finally:
            result.close()
        return [
            _Version(
                number=int(row["version"]),
                time=str(row.get("timestamp")),
                operation=str(row.get("operation") or ""),
                parameters=str(row.get("operationParameters") or ""),
            )
            for row in rows
        ]

    def _gap_of(self, exc: WarehouseRefused) -> Precondition:
        """What Delta Lake says against the range; other refusals are what they are."""
        if not str(exc.metadata.get("error_class", "")).startswith("DELTA_"):
            return exc
        return self.sync.gap(exc.message)

    def _scalar(self, statement: str) -> Any:
        result = self.warehouse.execute(statement, at_once=True)
        try:
            return next((batch.column(0)[0].as_py() for batch in result), 0)
        finally:
            result.close()

    def _ids(self, statement: str) -> Iterator[list[str]]:
        result = self.warehouse.execute(statement, max_batch_rows=MAX_DIRTY)
        try:
            for batch in result:
                yield values(as_text(batch.column(0)))
        finally:
            result.close()
