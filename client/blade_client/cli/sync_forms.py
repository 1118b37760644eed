"""Syncs in words: lists, details, runs, due times, items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from blade.v1.job_pb2 import Job
from blade.v1.sync_pb2 import Sync, SyncFire, SyncItem, SyncRun, SyncSpec
from blade.v1.sync_report_pb2 import SyncCounts, SyncReport
from blade_client.cli.durations import span_text
from blade_client.cli.job_forms import limits_text
from blade_client.cli.output import AMBER, Cell, Styled, moment, pairs_text, print_pairs, print_table, words

_COUNTS = {
    "created": "created",
    "updated": "updated",
    "unchanged": "unchanged",
    "deleted": "deleted",
    "withheld": "deletes withheld",
    "failed": "failed",
    "delete_failed": "deletes failed",
}


def counts_text(counts: SyncCounts) -> str:
    """`3 created, 1,200 unchanged`; what is zero is left out."""
    parts = [f"{getattr(counts, field):,} {word}" for field, word in _COUNTS.items() if getattr(counts, field)]
    return ", ".join(parts) or "nothing to do"


def mode_text(mode: int) -> str:
    """The mode's name; CHANGED is what an unset one means."""
    return SyncReport.Mode.Name(mode) if mode else "CHANGED"


def state_text(sync: Sync) -> Styled:
    """What a user should know first."""
    if sync.running_job_id:
        return Styled("running", "cyan")
    if sync.paused:
        return Styled("paused", "yellow")
    if sync.late:
        return Styled("late", AMBER)
    if sync.failures_in_a_row:
        return Styled(f"failed, {sync.failures_in_a_row} in a row", "red")
    return Styled("ok", "green") if sync.HasField("last_success_time") else Styled("no run yet", "")


def show_list(syncs: Sequence[Sync]) -> None:
    """Prints syncs as a table."""
    if not syncs:
        click.echo("There are no such syncs. Create one with `blade sync create`.", err=True)
        return
    print_table(
        ["NAME", "MODE", "STATE", "LAST SUCCESS (UTC)", "NEXT RUN (UTC)", "LAG", "LAST RUN"],
        [
            [
                each.name,
                mode_text(each.spec.mode),
                state_text(each),
                moment(each.last_success_time) or "never",
                moment(each.next_run_time) or "-",
                _span(each, "lag") or "-",
                _run_text(each),
            ]
            for each in syncs
        ],
        right=["LAG"],
    )


def show_sync(sync: Sync) -> None:
    """Prints one sync in full."""
    spec = sync.spec
    pairs: list[tuple[str, Cell]] = [
        ("Sync", sync.name),
        ("State", state_text(sync)),
        ("Paused because", sync.pause_reason if sync.paused else ""),
        ("Running job", sync.running_job_id),
        ("Last success", moment(sync.last_success_time) or "never"),
        ("Lag", _span(sync, "lag")),
        ("Next run", moment(sync.next_run_time)),
        ("Last run", _run_text(sync)),
        ("Its job", sync.last_run.job_id),
        ("Known items", f"{sync.known_items:,}"),
        ("To be read again", f"{sync.dirty_items:,}" if sync.dirty_items else ""),
        ("Watermark", sync.watermark),
        ("Feed version", str(sync.feed_version) if sync.HasField("feed_version") else ""),
        ("All runs", counts_text(sync.totals)),
        *_order(spec),
        ("Owner", sync.owner),
        ("Created", moment(sync.create_time)),
        ("Changed", moment(sync.update_time)),
        ("Etag", sync.etag),
    ]
    print_pairs(pairs)
    if sync.redacted:
        click.echo("SQL, filter and watermark are shown to a READER of the source.", err=True)


def show_runs(runs: Sequence[SyncRun]) -> None:
    """Prints runs as a table."""
    if not runs:
        click.echo("There are no runs.", err=True)
        return
    print_table(
        ["RUN", "JOB", "KIND", "STATUS", "READ", "STARTED (UTC)", "TOOK", "RESULT"],
        [
            [
                str(each.number or "-"),
                each.job_id,
                Job.Kind.Name(each.kind),
                Job.Status.Name(each.status),
                "all rows" if each.report.whole else "a part",
                moment(each.start_time),
                _took(each),
                counts_text(each.report.counts),
            ]
            for each in runs
        ],
        right=["RUN", "TOOK"],
    )


def show_fires(fires: Sequence[SyncFire]) -> None:
    """Prints due times as a table."""
    if not fires:
        click.echo("There were no due times in the last 30 days.", err=True)
        return
    print_table(
        ["DUE (UTC)", "OUTCOME", "JOB", "WHY"],
        [[moment(each.due_time), SyncFire.Outcome.Name(each.outcome), each.job_id, each.detail] for each in fires],
    )


def show_item(item: SyncItem) -> None:
    """Prints what is known of one item."""
    print_pairs(
        [
            ("Item", item.item_id),
            ("State", words(SyncItem.State.Name(item.state))),
            ("Sent by run", f"{item.run_number:,}" if item.run_number else ""),
            ("Its job", item.job_id),
            ("Sent", moment(item.sent_time)),
            ("Missing since", moment(item.missing_since)),
        ]
    )


def _run_text(sync: Sync) -> str:
    if not sync.HasField("last_run"):
        return ""
    done = counts_text(sync.last_run.report.counts)
    status = sync.last_run.status
    return done if status == Job.COMPLETED else f"{Job.Status.Name(status)}: {done}"


def _took(run: SyncRun) -> str:
    if not run.HasField("start_time") or not run.HasField("end_time"):
        return ""
    return span_text(round((run.end_time.ToDatetime() - run.start_time.ToDatetime()).total_seconds(), 1))


def _span(holder: Any, field: str) -> str:
    return span_text(round(getattr(holder, field).ToTimedelta().total_seconds(), 1)) if holder.HasField(field) else ""


def _order(spec: SyncSpec) -> Iterable[tuple[str, str]]:
    cursor = spec.cursor
    return [
        ("Source", spec.source),
        ("Destination", spec.destination or "default"),
        ("Mode", mode_text(spec.mode)),
        ("SQL", spec.sql),
        ("Filter", spec.filter),
        ("Cursor", cursor.column),
        ("Lag of the cursor", _span(cursor, "lag")),
        ("All rows every", _span(cursor, "full_every")),
        ("Schedule", _schedule(spec)),
        ("Deletes", _deletes(spec)),
        ("Adopts", "what is there already" if spec.adopt else ""),
        ("Scope", spec.scope),
        ("Limits", limits_text(spec.limits)),
        ("Metadata", pairs_text(dict(spec.metadata))),
        ("Item id", spec.item_id),
        ("Classification", spec.classification),
        ("Late after", _span(spec, "max_age")),
        ("Pauses itself", f"after {spec.pause_after_failures} failures in a row" if spec.pause_after_failures else ""),
        ("Tells", ", ".join(spec.notifications)),
    ]


def _schedule(spec: SyncSpec) -> str:
    schedule = spec.schedule
    if not spec.HasField("schedule"):
        return "none"
    when = f"{schedule.cron} ({schedule.time_zone or 'UTC'})" if schedule.cron else f"every {_span(schedule, 'every')}"
    jitter = _span(schedule, "jitter")
    return f"{when}, up to {jitter} later" if jitter and jitter != "0 s" else when


def _deletes(spec: SyncSpec) -> str:
    if spec.deletes != SyncSpec.DELETE:
        return "none: items stay"
    guards = spec.guards
    share = guards.max_delete_share if guards.HasField("max_delete_share") else 0.05
    parts = [f"up to {share:.3g} of what it knows"]
    if guards.HasField("max_deletes"):
        parts.append(f"at most {guards.max_deletes:,}")
    if guards.HasField("confirm_runs") and guards.confirm_runs > 1:
        parts.append(f"missed by {guards.confirm_runs} runs")
    if guards.HasField("grace"):
        parts.append(f"missing for {_span(guards, 'grace')}")
    return ", ".join(parts)
