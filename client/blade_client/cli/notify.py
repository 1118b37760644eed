"""`blade notify ...`: the receivers that are told what happens to syncs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blade_client.cli.completion import notification_names
from blade_client.cli.failures import PRECONDITION
from blade_client.cli.pairs import OneOf
from blade_client.cli.session import BladeGroup, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.notification_pb2 import Notification

F = TypeVar("F", bound=Callable[..., Any])
_EVENTS = ["RUN_FAILED", "COMPLETED_WITH_ERRORS", "DELETES_WITHHELD", "LATE", "SELF_PAUSED", "BLOCKED", "RECOVERED"]
_name = click.argument("name", shell_complete=notification_names)
_FIELDS = [
    click.option("--url", metavar="URL", help="The webhook; with --format SLACK a reference to it, as env:NAME."),
    click.option("--secret", metavar="REFERENCE", help="env:NAME or file:PATH of the signing key; never the key."),
    click.option("--format", type=OneOf(["CLOUD_EVENTS", "SLACK"]), help="What is sent.  [default: CLOUD_EVENTS]"),
    click.option(
        "--event", "events", type=OneOf(_EVENTS), multiple=True, help="Only this; may be repeated.  [default: all]"
    ),
]


def _fields(command: F) -> F:
    for option in reversed(_FIELDS):
        command = option(command)
    return command


@click.group(cls=BladeGroup)
def notify() -> None:
    """Tell webhooks what happens to syncs."""


@notify.command()
@click.argument("name")
@_fields
@pass_session
def add(session: Session, /, name: str, **fields: Any) -> None:
    """Store a receiver. A sync names it with `--notify NAME`."""
    from blade_client.cli.output import print_json

    wanted, _ = _notification(name, fields)
    with session.client() as blade:
        stored = blade.notifications.create(wanted)
    if session.json:
        print_json(stored)
    else:
        click.echo(f"Notification {name} was added. Try it with: blade notify test {name}")


@notify.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the receivers in the order of their names."""
    from blade_client.cli.output import message_dict, print_json, print_table

    with session.client() as blade:
        found = list(blade.notifications.list(page_size=1000))
    if session.json:
        print_json({"notifications": [message_dict(each) for each in found]})
        return
    print_table(
        ["NAME", "URL", "FORMAT", "EVENTS", "STATE"],
        [[each.name, each.url, _format(each), _events(each), "off" if each.disabled else "on"] for each in found],
    )


@notify.command()
@_name
@pass_session
def show(session: Session, name: str) -> None:
    """Show one receiver."""
    with session.client() as blade:
        _show(session, blade.notifications.get(name))


@notify.command("set")
@_name
@_fields
@click.option("--all-events", is_flag=True, help="It hears of all events again.")
@click.option("--enabled/--disabled", default=None, help="Messages are sent, or dropped.")
@click.option("--etag", default="", metavar="ETAG", help="Fail if somebody changed it since it had this etag.")
@pass_session
def set_(session: Session, /, name: str, all_events: bool, enabled: bool | None, etag: str, **fields: Any) -> None:
    """Change the fields that are named by options, all of them or none."""
    wanted, paths = _notification(name, fields)
    wanted.etag = etag
    if all_events and wanted.events:
        raise click.UsageError("Give --event or --all-events, not both.")
    paths += ["events"] if all_events else []
    if enabled is not None:
        wanted.disabled = not enabled
        paths.append("disabled")
    if not paths:
        raise click.UsageError("Nothing to change: name a field by an option.")
    with session.client() as blade:
        _show(session, blade.notifications.update(wanted, fields=paths))


@notify.command()
@_name
@click.option("--etag", default="", metavar="ETAG", help="Fail if it has another etag by now.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")
@pass_session
def remove(session: Session, name: str, etag: str, reason: str) -> None:
    """Remove a receiver that no sync names."""
    from blade_client.cli.output import print_json

    with session.client() as blade:
        blade.notifications.delete(name, etag=etag, reason=reason)
    if session.json:
        print_json({})
    else:
        click.echo(f"Notification {name} was removed.")


@notify.command()
@_name
@pass_session
def test(session: Session, name: str) -> None:
    """Send a test message now. Ends with code 5 if it does not arrive."""
    from blade_client.cli.output import print_json, visible

    with session.client() as blade:
        result = blade.notifications.test(name)
    if session.json:
        print_json(result)
    else:
        status = f" with {result.status}" if result.status else ""
        words = f"It has arrived: the receiver answered{status}." if result.delivered else "It has not arrived."
        click.echo(visible(f"{words} {result.detail}".strip()))
    if not result.delivered:
        click.get_current_context().exit(PRECONDITION)


@notify.command()
@_name
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most lines.")
@pass_session
def deliveries(session: Session, name: str, limit: int) -> None:
    """List what became of the messages of the last 7 days, newest first."""
    from blade.v1.notification_pb2 import Delivery, Notification
    from blade_client.cli.output import message_dict, moment, print_json, print_table

    with session.client() as blade:
        found = list(islice(blade.notifications.deliveries(name, page_size=min(limit + 1, 1000)), limit + 1))
    if session.json:
        print_json({"deliveries": [message_dict(each) for each in found[:limit]]})
    else:
        print_table(
            ["TIME (UTC)", "SYNC", "EVENT", "STATE", "TRIES", "ANSWER", "NEXT (UTC)", "WHY"],
            [
                [
                    moment(each.time),
                    each.sync,
                    Notification.Event.Name(each.event),
                    Delivery.State.Name(each.state),
                    str(each.attempts),
                    str(each.status or ""),
                    moment(each.next_attempt_time),
                    each.detail,
                ]
                for each in found[:limit]
            ],
            right=["TRIES"],
        )
    if len(found) > limit:
        click.echo(f"There are more than these {limit:,}: use --limit.", err=True)


def _notification(name: str, fields: dict[str, Any]) -> tuple[Notification, list[str]]:
    from blade.v1.notification_pb2 import Notification

    given = {field: value for field, value in fields.items() if value is not None and value != ()}
    return Notification(name=name, **given), sorted(given)


def _format(shown: Notification) -> str:
    return type(shown).Format.Name(shown.format) if shown.format else "CLOUD_EVENTS"


def _events(shown: Notification) -> str:
    return ", ".join(type(shown).Event.Name(each) for each in shown.events) or "all"


def _show(session: Session, shown: Notification) -> None:
    from blade_client.cli.output import moment, print_json, print_pairs

    if session.json:
        print_json(shown)
        return
    print_pairs(
        [
            ("Name", shown.name),
            ("URL", shown.url),
            ("Secret", shown.secret),
            ("Format", _format(shown)),
            ("Events", _events(shown)),
            ("State", "off: messages are dropped" if shown.disabled else "on"),
            ("Added", moment(shown.create_time)),
            ("Changed", moment(shown.update_time)),
            ("Etag", shown.etag),
        ]
    )
