"""`blade job pause`, `resume`, `cancel` and `limits`: steering a job that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blade_client.cli.completion import job_ids
from blade_client.cli.session import INT64, BladeCommand, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.job_pb2 import Job

_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for the job's history.")


@click.command(cls=BladeCommand)
@click.argument("job_id", shell_complete=job_ids)
@_reason
@pass_session
def pause(session: Session, job_id: str, reason: str) -> None:
    """Let a job stop for now; what is in flight is finished."""
    with session.client() as blade:
        _tell(session, blade.pause(job_id, reason))


@click.command(cls=BladeCommand)
@click.argument("job_id", shell_complete=job_ids)
@_reason
@pass_session
def resume(session: Session, job_id: str, reason: str) -> None:
    """Let a paused job go on where it was."""
    with session.client() as blade:
        _tell(session, blade.resume(job_id, reason))


@click.command(cls=BladeCommand)
@click.argument("job_id", shell_complete=job_ids)
@_reason
@pass_session
def cancel(session: Session, job_id: str, reason: str) -> None:
    """End a job for good; what was uploaded stays in the catalog."""
    with session.client() as blade:
        _tell(session, blade.cancel(job_id, reason))


@click.command(cls=BladeCommand)
@click.argument("job_id", shell_complete=job_ids)
@click.option("--items-per-second", metavar="NUMBER|none", help="Most items per second.")
@click.option("--max-errors", metavar="NUMBER|none", help="Fail once more items than this have failed.")
@click.option("--max-error-share", metavar="NUMBER|none", help="Fail once more than this share has failed.")
@_reason
@pass_session
def limits(
    session: Session,
    *,
    job_id: str,
    items_per_second: str | None,
    max_errors: str | None,
    max_error_share: str | None,
    reason: str,
) -> None:
    """Change limits of a job while it runs; those not named stay, `none` takes one away."""
    from blade_client.cli.job_forms import limits_text

    chosen = (items_per_second, max_errors, max_error_share)
    with session.client() as blade:
        now = blade.get_job(job_id)
        if any(each is not None for each in chosen):
            old = now.spec.limits
            now = blade.update_limits(
                job_id,
                items_per_second=_number(items_per_second, old.items_per_second) or 0.0,
                max_errors=_whole(max_errors, old.max_errors if old.HasField("max_errors") else None),
                max_error_share=_number(
                    max_error_share, old.max_error_share if old.HasField("max_error_share") else None
                ),
                reason=reason,
            )
    _tell(session, now, limits_text(now.spec.limits))


def _number(text: str | None, old: float | None) -> float | None:
    if text is None:
        return old
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError as wrong:
        raise click.UsageError(f"{text!r} is neither a number nor `none`.") from wrong


def _whole(text: str | None, old: int | None) -> int | None:
    if text is None or text.lower() == "none":
        return old if text is None else None
    return INT64.convert(text, None, None)


def _tell(session: Session, now: Job, what: str = "") -> None:
    from blade_client.cli.job_forms import status_text
    from blade_client.cli.output import print_json

    if session.json:
        print_json(now)
    else:
        click.echo(f"{now.job_id} is {status_text(now)}{': ' if what else ''}{what}.")
