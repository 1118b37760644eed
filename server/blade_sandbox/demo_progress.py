"""The job of the demo on the screen: a live bar on a terminal, lines in a log; paused once on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from blade.v1.job_pb2 import Job
from blade_client import BladeClient
from blade_client.cli.job_forms import status_text
from blade_client.errors import Precondition

_INTERVAL_S = 0.2
_PAUSE_AT = 0.3
_PAUSE_S = 1.5
_LINE_EVERY_S = 3.0


def follow(client: BladeClient, job: Job, console: Console, show_command: Callable[[str], None]) -> Job:
    """Watches the job to its end; pauses it at 30 % and lets it go on. Returns the final snapshot."""
    paused = False
    with _display(console) as show:
        for now in client.watch_job(job.job_id, min_interval_s=_INTERVAL_S):
            show(now)
            far_enough = now.total_items and now.processed_items >= _PAUSE_AT * now.total_items
            if far_enough and not paused and now.status == Job.RUNNING:
                paused = True
                show_command(f"job pause {now.job_id}")
                _ask(client.pause, now)
            if now.status == Job.PAUSED:
                _rest(client, now, console)
                show_command(f"job resume {now.job_id}")
                _ask(client.resume, now)
    return now


def _rest(client: BladeClient, job: Job, console: Console) -> None:
    """Shows that nothing moves while the job is paused."""
    time.sleep(_PAUSE_S)
    still = client.get_job(job.job_id)
    moved = still.processed_items - job.processed_items
    console.print(
        f"  PAUSED at {still.processed_items:,} items; {moved:,} more after {_PAUSE_S:g} s, as it should be",
        markup=False,
    )


def _ask(action: Callable[[str, str], Job], job: Job) -> None:
    with suppress(Precondition):  # it came to its end first
        action(job.job_id, "shown by the demo")


@contextmanager
def _display(console: Console) -> Iterator[Callable[[Job], None]]:
    if not console.is_terminal:
        yield _Lines(console).show
        return
    columns = (
        TextColumn("  {task.description:<9}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}  [dim]{task.fields[activity]}[/dim]"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("PENDING", total=None, counts="", rate="", activity="")

        def show(job: Job) -> None:
            progress.update(
                task,
                description=status_text(job),
                total=job.total_items if job.HasField("total_items") else None,
                completed=job.processed_items,
                counts=f"{job.processed_items:,}",
                rate=f"{job.items_per_second:,.0f} items/s" if job.items_per_second else "",
                activity=job.current_operation,
            )

        yield show


class _Lines:
    """One line each few seconds and each change of status."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: int = Job.STATUS_UNSPECIFIED
        self._due_s = 0.0

    def show(self, job: Job) -> None:
        """Prints the job if it is time."""
        if job.status == self._status and time.monotonic() < self._due_s:
            return
        self._status, self._due_s = job.status, time.monotonic() + _LINE_EVERY_S
        total = (
            f" of {job.total_items:,} ({job.processed_items / max(job.total_items, 1):.0%})" if job.total_items else ""
        )
        self._console.print(
            f"  {status_text(job):<9} {job.processed_items:>7,}{total}"
            f"  {job.items_per_second:>6,.0f} items/s  {job.current_operation}",
            markup=False,
        )
