"""What exactly the run of a sync reads: all rows of the source, or those that may have changed since the last run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyarrow as pa

from blade_server.core import sql
from blade_server.core.engine.read.feed_plan import FeedReader
from blade_server.core.engine.read.plan import announced_rows, versions_of
from blade_server.core.engine.sync.cursor import as_text_value, cursor_field, from_text, unusable
from blade_server.core.engine.sync.sync_job import MAX_DIRTY, SyncJob
from blade_server.core.transform.item_ids import TemplateError
from blade_server.errors import Precondition
from blade_server.model import Job, JobKind, Plan, Source
from blade_server.model.sync import Cursor
from blade_server.model.sync_report import SyncMode
from blade_server.warehouse import Warehouse

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def make_sync_plan(warehouse: Warehouse, statement: str, job: Job, sync: SyncJob) -> Plan:
    """As `make_plan`. Raises Precondition (CURSOR_UNUSABLE), and what the warehouse raises."""
    if sync.plan is not None:
        return sync.plan
    versions = versions_of(warehouse, statement)
    version = _version(versions, job.source)
    read = _Rows(warehouse=warehouse, statement=sql.pin(statement, versions), job=job, sync=sync)
    table_id = ""
    if sync.task.as_run and sync.task.spec.mode is SyncMode.CHANGE_FEED:
        reader = FeedReader(warehouse=warehouse, job=job, sync=sync, table=sql.table_of(statement))
        fed = reader.plan(version)
        if fed is not None:
            return fed
        table_id = reader.identity(version)
    wanted = read.chosen()
    return Plan(
        statement=wanted or read.statement,
        announced=announced_rows(warehouse, wanted or read.statement, batch_size=job.spec.batch_size),
        version=version,
        table_id=table_id,
        whole=not wanted,
        since=sync.state.watermark if wanted and sync.task.as_run else "",
    )


def _version(versions: dict[str, int], source: Source) -> int | None:
    names = (source.config.catalog, source.config.schema, source.config.table)
    wanted = ".".join("`" + name.replace("`", "``") + "`" for name in names).casefold()
    return next((version for name, version in versions.items() if name.casefold() == wanted), None)


@dataclass(frozen=True, kw_only=True)
class _Rows:
    warehouse: Warehouse
    statement: str
    job: Job
    sync: SyncJob

    def chosen(self) -> str:
        """The statement over a part of the rows; empty: all are read."""
        task, spec = self.sync.task, self.sync.task.spec
        if task.kind is JobKind.BACKFILL:
            return self._window()
        if not task.as_run or spec.mode is not SyncMode.INCREMENTAL or spec.cursor is None:
            return ""
        schema = self._schema()
        field = cursor_field(schema, spec.cursor.column)  # also where all rows are read: it has to be there
        if self._all_are_due(spec.cursor) or self._has_another_type(field):
            return ""
        return self._since(spec.cursor, field, schema)

    def _all_are_due(self, cursor: Cursor) -> bool:
        task, state, age_s = self.sync.task, self.sync.state, self.sync.whole_age_s
        if task.whole or state.doubtful or not state.watermark or state.key_hash != task.key_hash:
            return True
        return state.dirty_items > MAX_DIRTY or age_s is None or age_s >= cursor.full_every_s

    def _has_another_type(self, field: pa.Field[pa.DataType]) -> bool:
        """Whether the watermark is of another type than the column now: text sorts otherwise than numbers."""
        before = self.sync.state.watermark_type
        if before in {"", str(field.type)}:
            return False
        self.sync.findings.warn(
            f"all rows are read, since the watermark is of another type ({before}) than the cursor column "
            f"{field.name!r} ({field.type})"
        )
        return True

    def _since(self, cursor: Cursor, field: pa.Field[pa.DataType], schema: pa.Schema) -> str:
        template = self.job.spec.overrides.item_id or self.job.source.mapping.item_id
        try:
            value = _earlier(self.sync.state.watermark, field.type, cursor.lag_s)
        except Precondition as exc:  # the column has another type now
            self.sync.findings.warn(f"all rows are read, since the watermark is of another type: {exc.message}")
            return ""
        try:
            return sql.since(self.statement, field, value, template=template, schema=schema, ids=self.sync.dirty_ids())
        except TemplateError as exc:
            self.sync.findings.warn(f"all rows are read, since items whose upload failed have to be: {exc}")
            return ""

    def _window(self) -> str:
        task = self.sync.task
        field = cursor_field(self._schema(), task.window_column)
        least, end = (_spelled(value, field.type) for value in (task.from_value, task.to_value))
        if not (least or end):
            raise unusable("the window of a backfill has no bound")
        return sql.within(self.statement, field, least, end)

    def _schema(self) -> pa.Schema:
        result = self.warehouse.execute(sql.limit(self.statement, 0), at_once=True)
        try:
            return result.schema
        finally:
            result.close()


def _spelled(value: str, kind: pa.DataType) -> str:
    return as_text_value(from_text(value, kind)) if value else ""


def _earlier(value: str, kind: pa.DataType, lag_s: float) -> str:
    """A value less the lag, as text. Raises Precondition for text that is no value of the column any more."""
    found = from_text(value, kind)
    types = pa.types
    if types.is_date32(kind):
        days = found.cast(pa.int32()).as_py() - math.ceil(lag_s / 86_400)
        return as_text_value(pa.array([days], pa.int32()).cast(kind)[0])
    if isinstance(kind, pa.TimestampType):
        ticks = found.cast(pa.int64()).as_py() - math.ceil(lag_s * _PER_SECOND[kind.unit])
        return as_text_value(pa.array([ticks], pa.int64()).cast(kind)[0])
    return as_text_value(found)
