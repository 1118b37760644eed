"""`blade sync pause`, `resume`, `own` and `reset`: steering a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blade_client.cli.completion import sync_names
from blade_client.cli.session import BladeCommand, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.sync_pb2 import Sync

_name = click.argument("name", shell_complete=sync_names)
_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")


@click.command(cls=BladeCommand)
@_name
@_reason
@pass_session
def pause(session: Session, name: str, reason: str) -> None:
    """Let due times start nothing; a run that is under way goes on."""
    with session.client() as blade:
        now = blade.syncs.pause(name, reason)
    _tell(session, now, f"Sync {name} is paused.")
    if now.running_job_id and not session.json:
        click.echo(f"Its run goes on; stop it with: blade job pause {now.running_job_id}", err=True)


@click.command(cls=BladeCommand)
@_name
@_reason
@pass_session
def resume(session: Session, name: str, reason: str) -> None:
    """Let due times start runs again, from the next one on."""
    from blade_client.cli.output import moment

    with session.client() as blade:
        now = blade.syncs.resume(name, reason)
    due = f"the next run is due at {moment(now.next_run_time)} UTC" if now.HasField("next_run_time") else ""
    _tell(session, now, f"Sync {name} is not paused; {due or f'it has no schedule: blade sync run {name}'}.")


@click.command(cls=BladeCommand)
@_name
@_reason
@pass_session
def own(session: Session, name: str, reason: str) -> None:
    """Make yourself the owner: runs that a due time starts have your rights from then on."""
    with session.client() as blade:
        now = blade.syncs.own(name, reason)
    _tell(session, now, f"Sync {name} is owned by {now.owner}.")


@click.command(cls=BladeCommand)
@_name
@click.argument("item_ids", nargs=-1, metavar="[ITEM_ID]...")
@click.option("--all", "all_", is_flag=True, help="All items.")
@_reason
@pass_session
def reset(session: Session, *, name: str, item_ids: tuple[str, ...], all_: bool, reason: str) -> None:
    """Forget what was sent, of the named items or of --all, so that the next run sends it again; nothing is deleted."""
    from blade_client.cli.output import print_json

    if bool(item_ids) == all_:
        raise click.UsageError("Name items, or say --all.")
    with session.client() as blade:
        forgotten = blade.syncs.reset(name, item_ids, reason=reason)
    if session.json:
        print_json({"itemsForgotten": forgotten})
    else:
        click.echo(f"Sync {name} has forgotten {forgotten:,} items. Send them again with: blade sync run {name}")


def _tell(session: Session, now: Sync, words: str) -> None:
    from blade_client.cli.output import print_json

    if session.json:
        print_json(now)
    else:
        click.echo(words)
