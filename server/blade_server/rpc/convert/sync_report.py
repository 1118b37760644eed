"""What a run of a sync found and did."""

from __future__ import annotations

from dataclasses import asdict

from blade.v1 import sync_report_pb2
from blade_server.model.sync_report import SyncCounts, SyncMode, SyncReport, Withheld
from blade_server.rpc.convert.fields import numbers_of

MODES = numbers_of(SyncMode, sync_report_pb2.SyncReport.Mode)
WITHHELD = numbers_of(Withheld, sync_report_pb2.SyncReport.Withheld)


def report_message(report: SyncReport) -> sync_report_pb2.SyncReport:
    """The report, whole."""
    return sync_report_pb2.SyncReport(
        run_number=report.run_number,
        mode=MODES[report.mode],
        counts=counts_message(report.counts),
        withheld_reason=WITHHELD[report.withheld_reason] if report.withheld_reason else None,
        withheld_detail=report.withheld_detail,
        null_cursor_count=report.null_cursor_count,
        watermark=report.watermark,
        version=report.version,
        above_ceiling_count=report.above_ceiling_count,
        warnings=report.warnings,
        whole=report.whole,
    )


def counts_message(counts: SyncCounts) -> sync_report_pb2.SyncCounts:
    """The counts."""
    return sync_report_pb2.SyncCounts(**asdict(counts))
