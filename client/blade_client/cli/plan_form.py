"""What a plan, a run or a verification found, one line an item, as plans of infrastructure are read."""

from __future__ import annotations

from collections import Counter

import click

from blade.v1.job_pb2 import Job
from blade.v1.sync_pb2 import ItemChange
from blade.v1.sync_report_pb2 import SyncCounts, SyncReport
from blade.v1.sync_service_pb2 import GetSyncReportResponse
from blade_client.cli.output import AMBER, Styled, console, visible

_MARKS = {
    ItemChange.CREATE: ("+", "green"),
    ItemChange.UPDATE: ("~", "yellow"),
    ItemChange.DELETE: ("-", "red"),
    ItemChange.REJECT: ("!", "red"),
    ItemChange.WITHHELD: ("?", AMBER),
}
_TOTALS = {
    ItemChange.CREATE: "created",
    ItemChange.UPDATE: "updated",
    ItemChange.DELETE: "deleted",
    ItemChange.REJECT: "failed",
    ItemChange.WITHHELD: "withheld",
}
_PLAN = {
    "created": "to create",
    "updated": "to update",
    "deleted": "to delete",
    "unchanged": "unchanged",
    "failed": "rejected",
    "withheld": "deletes withheld",
}
_VERIFIED = {
    "created": "missing",
    "updated": "different",
    "deleted": "too many",
    "unchanged": "equal",
    "failed": "rejected",
}
_DONE = {
    "created": "created",
    "updated": "updated",
    "deleted": "deleted",
    "unchanged": "unchanged",
    "failed": "failed",
    "withheld": "deletes withheld",
    "delete_failed": "deletes failed",
}
_TITLES = {Job.PLAN: ("Plan", _PLAN), Job.VERIFY: ("Verification", _VERIFIED)}


def show_report(found: GetSyncReportResponse) -> None:
    """Prints the samples, then the counts, then what the user should know."""
    job, report = found.job, found.job.sync_report
    title, words = _TITLES.get(job.kind, ("Run", _DONE))
    for change in found.changes:
        _print_change(change)
    shown = Counter(change.kind for change in found.changes)
    for kind, field in _TOTALS.items():
        more = getattr(report.counts, field) - shown[kind]
        if more > 0 and (shown[kind] or kind != ItemChange.REJECT) and job.kind in _TITLES and field in words:
            _print(Styled(f"  {_MARKS[kind][0]} ... and {more:,} more {words[field]}", "dim"))
    if found.changes:
        click.echo()
    version = f" of version {report.version} of the table" if report.HasField("version") else ""
    scope = "" if report.whole else ", of a part of the rows"
    click.echo(f"{title}{version}{scope}: {_counted(report.counts, words)}.")
    _print_remarks(report)


def _counted(counts: SyncCounts, words: dict[str, str]) -> str:
    always = list(words)[:3]
    parts = [
        f"{getattr(counts, field):,} {word}"
        for field, word in words.items()
        if field in always or getattr(counts, field)
    ]
    return ", ".join(parts)


def _print_change(change: ItemChange) -> None:
    mark, style = _MARKS.get(change.kind, ("*", ""))
    remark = f"   {change.detail}" if change.detail else ""
    _print(Styled(f"  {mark} {change.item_id or '(a row without an id)'}{remark}", style))
    width = max((len(each.field) for each in change.fields), default=0)
    for each in change.fields:
        click.echo(visible(f"      {each.field:<{width}}  {each.before or '(none)'} -> {each.after or '(none)'}"))


def _print_remarks(report: SyncReport) -> None:
    if report.withheld_reason:
        why = report.withheld_detail or SyncReport.Withheld.Name(report.withheld_reason)
        _print(Styled(f"Deletes withheld: {why}", AMBER))
    if report.above_ceiling_count:
        _print(
            Styled(f"{report.above_ceiling_count:,} items above the ceiling of the destination are left out.", AMBER)
        )
    if report.null_cursor_count:
        click.echo(f"{report.null_cursor_count:,} rows have no value in the cursor column.")
    for warning in report.warnings:
        _print(Styled(f"Warning: {warning}", AMBER))


def _print(line: Styled) -> None:
    from rich.text import Text

    console().print(Text(visible(line.text), style=line.style), soft_wrap=True)
