"""Syncs for those who may see them and not read rows: without SQL, and without values of rows."""

from __future__ import annotations

from dataclasses import replace

from blade_server.core.jobs.redaction import redacted_report
from blade_server.model.sync import Sync, SyncRun


def for_caller(sync: Sync, *, reads: bool) -> Sync:
    """The sync for somebody who may read all of its source, or not."""
    if reads:
        return sync
    return replace(
        sync,
        spec=replace(sync.spec, sql="", filter=""),
        state=replace(sync.state, watermark=""),
        last_run=sync.last_run and redacted_run(sync.last_run),
        redacted=True,
    )


def redacted_run(run: SyncRun) -> SyncRun:
    """Its numbers and reasons stay."""
    return run if run.report is None else replace(run, report=redacted_report(run.report))
