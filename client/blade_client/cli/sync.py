"""`blade sync ...`: the group, and the commands that store and show syncs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from blade_client.cli.completion import destination_names, source_names, sync_names
from blade_client.cli.session import BladeGroup, Session, pass_session
from blade_client.cli.sync_control import own, pause, reset, resume
from blade_client.cli.sync_history import fires, item, report, runs
from blade_client.cli.sync_jobs import accept_deletes, apply_plan, backfill, plan, run, verify
from blade_client.cli.sync_spec import cleared, spec_of, spec_options

if TYPE_CHECKING:
    from blade.v1.sync_pb2 import Sync

_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")


@click.group(cls=BladeGroup)
def sync() -> None:
    """Keep catalogs equal to tables: standing orders and their runs."""


@sync.command()
@click.argument("name")
@click.option("--source", required=True, metavar="NAME", shell_complete=source_names, help="Name of the source.")
@spec_options
@click.option("--validate-only", is_flag=True, help="Check only, store nothing.")
@pass_session
def create(session: Session, /, name: str, source: str, validate_only: bool, **options: Any) -> None:
    """Store a sync; its schedule, or `blade sync run`, starts its runs."""
    from blade.v1.sync_pb2 import Sync
    from blade_client.cli.output import print_json

    spec, _ = spec_of({"source": source, **options})
    with session.client() as blade:
        stored = blade.syncs.create(Sync(name=name, spec=spec), validate_only=validate_only)
    if session.json:
        print_json(stored)
        return
    click.echo(f"Sync {name} {'would be fine; nothing was stored' if validate_only else 'was created'}.")
    if not validate_only:
        click.echo(f"See what it would do with: blade sync plan {name}\nRun it with: blade sync run {name} --watch")


@sync.command("list")
@click.option("--source", default="", metavar="NAME", shell_complete=source_names, help="Only syncs of this source.")
@click.option(
    "--destination", default="", metavar="NAME", shell_complete=destination_names, help="Only syncs into this one."
)
@pass_session
def list_(session: Session, source: str, destination: str) -> None:
    """List syncs in the order of their names, with what their last runs did."""
    from blade_client.cli.output import message_dict, print_json
    from blade_client.cli.sync_forms import show_list

    with session.client() as blade:
        found = list(blade.syncs.list(source=source, destination=destination, page_size=1000))
    if session.json:
        print_json({"syncs": [message_dict(each) for each in found]})
    else:
        show_list(found)


@sync.command()
@click.argument("name", shell_complete=sync_names)
@pass_session
def show(session: Session, name: str) -> None:
    """Show one sync: its order, its last run, what it knows."""
    with session.client() as blade:
        _show(session, blade.syncs.get(name))


@sync.command()
@click.argument("name", shell_complete=sync_names)
@spec_options
@click.option("--clear", multiple=True, metavar="FIELD", help="Put a field back to its default, as `schedule`.")
@click.option("--keep-old", is_flag=True, help="With another --destination: items in the old one stay there.")
@click.option("--etag", default="", metavar="ETAG", help="Fail if somebody changed it since it had this etag.")
@_reason
@pass_session
def update(
    session: Session,
    /,
    *,
    name: str,
    clear: tuple[str, ...],
    keep_old: bool,
    etag: str,
    reason: str,
    **options: Any,
) -> None:
    """Change the fields that are named by options, all of them or none; the next run is the first to know.

    You are its owner from then on: runs that a due time starts have your rights.
    """
    from blade.v1.sync_pb2 import Sync

    spec, paths = spec_of(options)
    paths += cleared(clear)
    if not paths:
        raise click.UsageError("Nothing to change: name a field by an option.")
    with session.client() as blade:
        changed = blade.syncs.update(
            Sync(name=name, etag=etag, spec=spec),
            fields=[f"spec.{path}" for path in paths],
            keep_old=keep_old,
            reason=reason,
        )
    _show(session, changed)


@sync.command()
@click.argument("name", shell_complete=sync_names)
@click.option("--etag", default="", metavar="ETAG", help="Fail if the sync has another etag by now.")
@_reason
@pass_session
def delete(session: Session, name: str, etag: str, reason: str) -> None:
    """Forget a sync and what it knows. Its items stay in the catalog."""
    from blade_client.cli.output import print_json

    with session.client() as blade:
        left = blade.syncs.delete(name, etag=etag, reason=reason)
    if session.json:
        print_json({"itemsLeft": left})
    else:
        click.echo(
            f"Sync {name} was deleted. {left:,} items stay in the catalog, and nobody looks after them any more."
        )


@sync.command()
@click.argument("name", shell_complete=sync_names)
@click.argument("new_name")
@spec_options
@_reason
@pass_session
def clone(session: Session, /, name: str, new_name: str, reason: str, **options: Any) -> None:
    """Store a copy under a new name: paused, and with what options say instead.

    A copy that would write the same items is refused: give it another --destination, or scopes to both.
    """
    instead, _ = spec_of(options)
    with session.client() as blade:
        copy = blade.syncs.clone(name, new_name, instead, reason=reason)
    _show(session, copy)
    if not session.json:
        click.echo(f"\nIt is paused. Let it start with: blade sync resume {new_name}", err=True)


for command in (run, plan, apply_plan, verify, backfill, accept_deletes, pause, resume, own, reset):
    sync.add_command(command)
for command in (runs, report, fires, item):
    sync.add_command(command)


def _show(session: Session, shown: Sync) -> None:
    from blade_client.cli.output import print_json
    from blade_client.cli.sync_forms import show_sync

    if session.json:
        print_json(shown)
    else:
        show_sync(shown)
