"""`blade job ...`: the group, and the commands that show jobs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import click

from blade_client.cli.completion import job_ids, source_names, sync_names
from blade_client.cli.job_control import cancel, limits, pause, resume
from blade_client.cli.job_start import clone, preview, retry, start
from blade_client.cli.pairs import OneOf
from blade_client.cli.session import BladeGroup, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.job_pb2 import Job

_KINDS = ["QUERY", "SYNC", "PLAN", "APPLY", "VERIFY", "BACKFILL", "DELETE"]
_STATUSES = ["PENDING", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"]


@click.group(cls=BladeGroup)
def job() -> None:
    """Start, follow and control jobs."""


for command in (start, preview, retry, clone, pause, resume, cancel, limits):
    job.add_command(command)


@job.command("list")
@click.option("--status", type=OneOf(_STATUSES), multiple=True, help="Only these.")
@click.option("--with-errors", is_flag=True, help="Only jobs that completed with errors.")
@click.option("--source", default="", shell_complete=source_names, metavar="NAME", help="Only jobs of this source.")
@click.option("--sync", default="", shell_complete=sync_names, metavar="NAME", help="Only jobs of this sync.")
@click.option("--kind", type=OneOf(_KINDS), multiple=True, help="Only these.  [default: QUERY; with --sync all]")
@click.option("--since", type=click.DateTime(), metavar="TIME", help="Created then or later; UTC.")
@click.option("--before", type=click.DateTime(), metavar="TIME", help="Created earlier; UTC.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most jobs.")
@pass_session
def list_(
    session: Session,
    *,
    status: tuple[str, ...],
    with_errors: bool,
    source: str,
    sync: str,
    kind: tuple[str, ...],
    since: datetime | None,
    before: datetime | None,
    limit: int,
) -> None:
    """List jobs, newest first."""
    from blade_client.cli.job_forms import show_list
    from blade_client.cli.output import message_dict, print_json

    with session.client() as blade:
        found = blade.list_jobs(
            statuses=status,
            source=source,
            created_after=since.replace(tzinfo=UTC) if since else None,
            created_before=before.replace(tzinfo=UTC) if before else None,
            with_errors=with_errors,
            sync=sync,
            kinds=kind,
            page_size=min(limit + 1, 1000),
        )
        jobs = list(islice(found, limit + 1))
    if session.json:
        print_json({"jobs": [message_dict(each) for each in jobs[:limit]]})
    else:
        show_list(jobs[:limit])
    if len(jobs) > limit:
        click.echo(f"There are more than these {limit:,}: use --limit.", err=True)


@job.command()
@click.argument("job_id", shell_complete=job_ids)
@pass_session
def show(session: Session, job_id: str) -> None:
    """Show one job: progress, errors by reason, history."""
    with session.client() as blade:
        _show(session, blade.get_job(job_id))


@job.command()
@click.argument("job_id", shell_complete=job_ids)
@click.option(
    "--interval",
    type=float,
    help="Seconds between updates of progress, 0.2 to 60.  [default: 1; 10 if the output is no terminal]",
)
@pass_session
def watch(session: Session, job_id: str, interval: float | None) -> None:
    """Follow a job to its end; Ctrl-C leaves it running.

    Ends with code 0 if it COMPLETED, 8 if it did but some items failed, 1 if it FAILED or was CANCELLED. The server may
    go away and come back meanwhile.
    """
    from blade_client.cli.following import follow

    click.get_current_context().exit(follow(session, job_id, interval_s=interval))


@job.command()
@click.argument("job_id", shell_complete=job_ids)
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most errors.")
@click.option("--all", "all_", is_flag=True, help="All errors, however many.")
@click.option("--format", "form", type=OneOf(["table", "csv"]), default="table", help="`csv` has all errors.")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write the CSV there, whole or not.")
@pass_session
def errors(session: Session, *, job_id: str, limit: int, all_: bool, form: str, output: str | None) -> None:
    """List the rows of a job that did not reach the catalog.

    In CSV, a value that a spreadsheet would take for a formula (= + - @ in front) begins with a quote mark.
    """
    from blade_client.cli.job_forms import show_errors
    from blade_client.cli.output import message_dict, print_json

    if form == "csv":
        _write_csv(session, job_id, output)
        return
    if output is not None:
        raise click.UsageError("--output goes with --format csv.")
    with session.client() as blade:
        page_size = 1000 if all_ else min(limit + 1, 1000)
        found = list(islice(blade.item_errors(job_id, page_size=page_size), None if all_ else limit + 1))
    shown = found if all_ else found[:limit]
    if session.json:
        print_json({"errors": [message_dict(each) for each in shown]})
    else:
        show_errors(shown)
    if len(found) > len(shown):
        click.echo(f"There are more than these {limit:,}: use --limit or --all.", err=True)


def _write_csv(session: Session, job_id: str, output: str | None) -> None:
    from blade_client.cli.errors_csv import write_csv
    from blade_client.cli.whole_file import whole_file

    with session.client() as blade:
        found = blade.item_errors(job_id, page_size=1000)
        if output is None:
            write_csv(found, sys.stdout.buffer)
            return
        with whole_file(output) as file:
            count = write_csv(found, file)
    click.echo(f"Wrote {count:,} errors to {output}.", err=True)


def _show(session: Session, shown: Job) -> None:
    from blade_client.cli.job_forms import show_job
    from blade_client.cli.output import print_json

    if session.json:
        print_json(shown)
    else:
        show_job(shown)
