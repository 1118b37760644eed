"""A job on the screen until it is final: a live bar on a terminal, lines elsewhere, NDJSON for machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from blade.v1.job_pb2 import Job
from blade_client.cli.failures import COMPLETED_WITH_ERRORS, INTERRUPTED, JOB_NOT_COMPLETED
from blade_client.cli.job_forms import (
    activity_text,
    count_text,
    duration_text,
    errors_text,
    reason_name,
    status_text,
    styled_status,
    took_text,
)
from blade_client.cli.output import console, print_json, visible
from blade_client.cli.session import Session
from blade_client.errors import BladeClientError, NotSignedIn

if TYPE_CHECKING:
    from rich.console import Group

_EVERYDAY = (Job.RATE_LIMITED, Job.CATALOG_THROTTLED)
"""Reasons to wait that come and go many times a minute, and are no news."""

Show = Callable[[Job, str], None]
"""Shows a snapshot, with a remark about the connection if there is one."""


def follow(session: Session, job_id: str, *, interval_s: float | None = None) -> int:
    """Shows the job until it is final. Returns the exit code; Ctrl-C only leaves.

    Progress comes every `interval_s`; by default each second, and every ten seconds in a log, which nobody watches.
    """
    latest: Job | None = None
    lines = not session.json and not sys.stdout.isatty()
    interval_s = interval_s or (10.0 if lines else 1.0)
    display = _ndjson() if session.json else _lines(interval_s) if lines else _bar()
    try:
        with session.client() as blade, display as show:

            def reconnecting(error: BladeClientError, wait_s: float) -> None:
                if latest is not None and not isinstance(error, NotSignedIn):  # then there is a newer token
                    show(latest, f"the server is away; trying again in {wait_s:.0f} s")

            for latest in blade.watch_job(
                job_id, min_interval_s=interval_s, timeout_s=session.timeout_s, on_reconnect=reconnecting
            ):
                show(latest, "")
    except KeyboardInterrupt:
        click.echo(
            f"\nNo longer watching; {job_id} goes on. Come back with: blade job watch {job_id}\n"
            f"Stop it with: blade job cancel {job_id}",
            err=True,
        )
        return INTERRUPTED
    assert latest is not None, "a watch without an error has brought the final snapshot"
    if not session.json:
        _tell_end(latest)
    return exit_code(latest)


def exit_code(job: Job) -> int:
    """0 if everything is in the catalog, else one of the codes that `blade --help` lists."""
    if job.status != Job.COMPLETED:
        return JOB_NOT_COMPLETED
    return COMPLETED_WITH_ERRORS if job.error_count else 0


def _tell_end(job: Job) -> None:
    took = took_text(job)
    summary = f"{job.job_id} {status_text(job)}: {job.success_count:,} items {'sent' if job.sync else 'in the catalog'}"
    if job.skipped_count:
        summary += f", {job.skipped_count:,} skipped"
    if job.error_count:
        summary += f", {errors_text(job)}"
    click.echo(summary + (f", {took}." if took else "."))
    if job.status == Job.FAILED:
        click.echo(f"Error: {reason_name(job.error.reason)}: {visible(job.error.message)}", err=True)
    if job.error_count:
        click.echo(f"See why with: blade job errors {job.job_id}", err=True)


@contextmanager
def _ndjson() -> Iterator[Show]:
    def show(job: Job, remark: str) -> None:
        if not remark:
            print_json(job, lines=True)

    yield show


@contextmanager
def _lines(interval_s: float) -> Iterator[Show]:
    told, told_at = None, 0.0

    def show(job: Job, remark: str) -> None:
        nonlocal told, told_at
        news = (job.status, job.pending_action, 0 if job.wait_reason in _EVERYDAY else job.wait_reason)
        if not remark and news == told and time.monotonic() - told_at < interval_s:
            return
        told, told_at = news, time.monotonic()
        parts = [
            f"{datetime.now(UTC):%H:%M:%SZ}",
            status_text(job),
            f"{count_text(job)} items",
            f"{job.items_per_second:,.0f} items/s",
            errors_text(job),
            *([f"ends in {_remaining(job)}"] if _remaining(job) else []),
            visible(remark or activity_text(job)),
        ]
        click.echo("  ".join(part for part in parts if part))

    yield show


@contextmanager
def _bar() -> Iterator[Show]:
    from rich.live import Live

    shown = console()
    with Live(console=shown, auto_refresh=False, transient=False) as live:

        def show(job: Job, remark: str) -> None:
            live.update(_picture(job, remark, shown.width), refresh=True)

        yield show


def _picture(job: Job, remark: str, width: int) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    known = job.HasField("total_items")
    share = job.processed_items / job.total_items if known and job.total_items else float(job.status == Job.COMPLETED)
    table = Table.grid(padding=(0, 2))
    for _ in range(6):
        table.add_column(no_wrap=True)
    status = Text(*styled_status(job))
    numbers = [
        Text(f"{share:.1%}" if known else ""),
        Text(f"{count_text(job)} items"),
        Text(f"{job.items_per_second:,.0f} items/s" if job.items_per_second else ""),
        Text(errors_text(job), style="red" if job.error_count else ""),
    ]
    # The bar gives way to the words: 80 columns must do for six digits.
    free = width - sum(len(text) + 2 for text in (status, *numbers))
    table.add_row(status, ProgressBar(total=1.0, completed=share, width=min(max(free, 6), 30)), *numbers)
    remaining = _remaining(job)
    below = [remark or activity_text(job), f"ends in {remaining}" if remaining else ""]
    return Group(table, Text(visible("   ".join(part for part in below if part)), style="dim", overflow="ellipsis"))


def _remaining(job: Job) -> str:
    if not job.HasField("estimated_completion"):
        return ""
    seconds = (job.estimated_completion.ToDatetime(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    return duration_text(max(0.0, seconds)) if seconds < 60 else f"about {duration_text(seconds)}"
