"""`blade sync runs`, `report`, `fires` and `item`: what a sync did, and what it knows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

import click

from blade_client.cli.completion import job_ids, sync_names
from blade_client.cli.session import BladeCommand, Session, pass_session

T = TypeVar("T")
_name = click.argument("name", shell_complete=sync_names)
_limit = click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most lines.")


@click.command(cls=BladeCommand)
@_name
@_limit
@pass_session
def runs(session: Session, name: str, limit: int) -> None:
    """List the runs that are kept, newest first."""
    from blade_client.cli.sync_forms import show_runs

    with session.client() as blade:
        found = _first(blade.syncs.runs(name, page_size=min(limit + 1, 1000)), limit)
    if not _as_json(session, "runs", found, limit):
        show_runs(found[:limit])
    _more(found, limit)


@click.command(cls=BladeCommand)
@_name
@_limit
@pass_session
def fires(session: Session, name: str, limit: int) -> None:
    """List what became of the due times of the last 30 days, newest first."""
    from blade_client.cli.sync_forms import show_fires

    with session.client() as blade:
        found = _first(blade.syncs.fires(name, page_size=min(limit + 1, 1000)), limit)
    if not _as_json(session, "fires", found, limit):
        show_fires(found[:limit])
    _more(found, limit)


@click.command(cls=BladeCommand)
@_name
@click.argument("job_id", shell_complete=job_ids)
@pass_session
def report(session: Session, name: str, job_id: str) -> None:
    """Show what a run, a plan or a verification found."""
    from blade_client.cli.output import print_json
    from blade_client.cli.plan_form import show_report

    with session.client() as blade:
        found = blade.syncs.report(name, job_id)
    if session.json:
        print_json(found)
    else:
        show_report(found)


@click.command(cls=BladeCommand)
@_name
@click.argument("item_id")
@pass_session
def item(session: Session, name: str, item_id: str) -> None:
    """Show what a sync knows of one item."""
    from blade_client.cli.output import print_json
    from blade_client.cli.sync_forms import show_item

    with session.client() as blade:
        found = blade.syncs.item(name, item_id)
    if session.json:
        print_json(found)
    else:
        show_item(found)


def _first(found: Iterator[T], limit: int) -> list[T]:
    return list(islice(found, limit + 1))


def _as_json(session: Session, name: str, found: list[Any], limit: int) -> bool:
    from blade_client.cli.output import message_dict, print_json

    if session.json:
        print_json({name: [message_dict(each) for each in found[:limit]]})
    return session.json


def _more(found: list[Any], limit: int) -> None:
    if len(found) > limit:
        click.echo(f"There are more than these {limit:,}: use --limit.", err=True)
