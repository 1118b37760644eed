"""`blade sync run`, `plan`, `apply-plan`, `verify`, `backfill` and `accept-deletes`: what makes a job of a sync."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from blade_client.cli.completion import job_ids, sync_names
from blade_client.cli.failures import DELETES_WITHHELD, INTERRUPTED, JOB_NOT_COMPLETED, SOMETHING_TO_DO
from blade_client.cli.session import BladeCommand, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.job_pb2 import Job
    from blade.v1.sync_service_pb2 import GetSyncReportResponse

_name = click.argument("name", shell_complete=sync_names)
_job_id = click.argument("job_id", shell_complete=job_ids)
_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for the job's history.")
_and_watch = click.option("--watch", "and_watch", is_flag=True, help="Follow the job to its end.")
_wait = click.option("--watch/--no-watch", "and_watch", default=True, help="Wait for the result.  [default: yes]")
_whole = click.option("--whole", is_flag=True, help="Read all rows, also where the mode reads a part of them.")


@click.command(cls=BladeCommand)
@_name
@_whole
@_reason
@_and_watch
@pass_session
def run(session: Session, *, name: str, whole: bool, reason: str, and_watch: bool) -> None:
    """Start a run now."""
    with session.client() as blade:
        _started(session, blade.syncs.run(name, whole=whole, reason=reason), and_watch=and_watch)


@click.command(cls=BladeCommand)
@_name
@_whole
@_wait
@pass_session
def plan(session: Session, *, name: str, whole: bool, and_watch: bool) -> None:
    """Show what a run would do: + create, ~ update, - delete, ! reject, ? delete withheld. Nothing is written.

    Ends with code 0 if there is nothing to do, 10 if there is something, 11 if deletes would be withheld.
    """
    with session.client() as blade:
        job = blade.syncs.plan(name, whole=whole)
    if not and_watch:
        _started(session, job, and_watch=False, then=f"blade sync report {name} {job.job_id}")
        return
    found = _result(session, name, job)
    counts = found.job.sync_report.counts
    something = bool(counts.created or counts.updated or counts.deleted)
    if something and not session.json:
        click.echo(f"Do this within an hour with: blade sync apply-plan {name} {job.job_id}")
    click.get_current_context().exit(DELETES_WITHHELD if counts.withheld else SOMETHING_TO_DO if something else 0)


@click.command("apply-plan", cls=BladeCommand)
@_name
@_job_id
@_reason
@_and_watch
@pass_session
def apply_plan(session: Session, *, name: str, job_id: str, reason: str, and_watch: bool) -> None:
    """Do what a plan of the last hour says, or refuse if it is not true any more."""
    with session.client() as blade:
        _started(session, blade.syncs.apply_plan(name, job_id, reason=reason), and_watch=and_watch)


@click.command(cls=BladeCommand)
@_name
@click.option("--repair", is_flag=True, help="Send what is missing or different. Nothing is deleted.")
@_reason
@_wait
@pass_session
def verify(session: Session, *, name: str, repair: bool, reason: str, and_watch: bool) -> None:
    """Compare all rows with the catalog.

    Ends with code 0 if they are equal, or with --repair made so, and with 10 if they are different.
    """
    with session.client() as blade:
        job = blade.syncs.verify(name, repair=repair, reason=reason)
    if not and_watch:
        _started(session, job, and_watch=False, then=f"blade sync report {name} {job.job_id}")
        return
    found = _result(session, name, job)
    counts = found.job.sync_report.counts
    mended = repair and not found.job.error_count
    different = bool(counts.deleted or (not mended and (counts.created or counts.updated)))
    click.get_current_context().exit(SOMETHING_TO_DO if different else 0)


@click.command(cls=BladeCommand)
@_name
@click.option("--from", "begin", default="", metavar="VALUE", help="The least value of the column.")
@click.option("--to", "end", default="", metavar="VALUE", help="The value that is too much.")
@click.option("--column", default="", metavar="COLUMN", help="Default: the sync's cursor column.")
@_reason
@_and_watch
@pass_session
def backfill(session: Session, *, name: str, begin: str, end: str, column: str, reason: str, and_watch: bool) -> None:
    """Start a run over the rows with a column in a window; the watermark stays."""
    if not begin and not end:
        raise click.UsageError("Say --from, --to, or both.")
    with session.client() as blade:
        job = blade.syncs.backfill(name, begin, end, column=column, reason=reason)
    _started(session, job, and_watch=and_watch)


@click.command("accept-deletes", cls=BladeCommand)
@_name
@_job_id
@click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit log and the job's history.")
@click.option("--force-empty", is_flag=True, help="Also where the source had no rows at all.")
@_and_watch
@pass_session
def accept_deletes(
    session: Session, *, name: str, job_id: str, reason: str, force_empty: bool, and_watch: bool
) -> None:
    """Delete what a run withheld, as far as it is still absent from the source."""
    with session.client() as blade:
        job = blade.syncs.accept_deletes(name, job_id, reason, force_empty=force_empty)
    _started(session, job, and_watch=and_watch)


def _started(session: Session, started: Job, *, and_watch: bool, then: str = "") -> None:
    from blade_client.cli.following import follow
    from blade_client.cli.output import print_json

    if session.json:
        print_json(started, lines=and_watch)
    else:
        click.echo(f"Started {started.job_id}.")
    if and_watch:
        code = follow(session, started.job_id)
        if not session.json:
            _tell_end(session, started)
        click.get_current_context().exit(code)
    if not session.json:
        click.echo(f"Follow it with: blade job watch {started.job_id}")
        if then:
            click.echo(f"See what it found with: {then}")


def _tell_end(session: Session, started: Job) -> None:
    """What the run did, in its counts and remarks alone: whoever ran it need not be a READER."""
    from blade.v1.sync_service_pb2 import GetSyncReportResponse
    from blade_client.cli.plan_form import show_report

    with session.client() as blade:
        job = blade.get_job(started.job_id)
    show_report(GetSyncReportResponse(job=job))
    if job.sync_report.counts.withheld:
        click.echo(f"Let them go with: blade sync accept-deletes {job.sync} {job.job_id} --reason TEXT", err=True)


def _result(session: Session, name: str, job: Job) -> GetSyncReportResponse:
    """Waits for the job and prints what it found. Ends the command if it did not COMPLETE."""
    from blade.v1.job_pb2 import Job as Jobs
    from blade_client.cli.job_forms import reason_name, status_text
    from blade_client.cli.output import print_json, visible
    from blade_client.cli.plan_form import show_report

    try:
        with session.client() as blade:
            for now in blade.watch_job(job.job_id, timeout_s=session.timeout_s):
                _tell_progress(session, now)
            found = blade.syncs.report(name, job.job_id)
    except KeyboardInterrupt:
        click.echo(f"\n{job.job_id} goes on. See what it found with: blade sync report {name} {job.job_id}", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if session.json:
        print_json(found)
    if found.job.status != Jobs.COMPLETED:
        if not session.json:
            error = found.job.error
            click.echo(f"Error: {job.job_id} is {status_text(found.job)}.", err=True)
            if found.job.status == Jobs.FAILED:
                click.echo(f"  {reason_name(error.reason)}: {visible(error.message)}", err=True)
        click.get_current_context().exit(JOB_NOT_COMPLETED)
    if not session.json:
        show_report(found)
    return found


def _tell_progress(session: Session, now: Job) -> None:
    from blade_client.cli.job_forms import count_text, status_text

    if not session.json and sys.stderr.isatty():
        click.echo(f"\r{status_text(now)}: {count_text(now)} rows \x1b[K", err=True, nl=now.status > now.PAUSED)
