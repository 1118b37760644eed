"""`blade destination ...`: the catalogs that items can be sent to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blade_client.cli.completion import destination_names
from blade_client.cli.failures import PRECONDITION
from blade_client.cli.session import BladeGroup, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.destination_pb2 import Destination, DestinationCapabilities

F = TypeVar("F", bound=Callable[..., Any])

_FIELDS = [
    click.option("--display-name", metavar="TEXT", help="A name for people."),
    click.option("--url", metavar="URL", help="Base URL of the catalog."),
    click.option("--credentials", metavar="REFERENCE", help="env:NAME or file:PATH; never a token itself."),
    click.option("--ca-file", metavar="REFERENCE", help="file:PATH of a private authority's certificates."),
    click.option("--items-per-second", type=float, help="Limit over all jobs into the destination; 0: none."),
    click.option("--timeout-s", type=float, help="Longest wait for one answer.  [default: the server's]"),
    click.option("--ceiling", metavar="VALUE", help="The highest classification that goes there; '': any."),
]


def _fields(command: F) -> F:
    for option in reversed(_FIELDS):
        command = option(command)
    return command


@click.group(cls=BladeGroup)
def destination() -> None:
    """Configure destinations: catalogs that items can be sent to."""


@destination.command()
@click.argument("name")
@_fields
@click.option("--validate-only", is_flag=True, help="Test only, store nothing.")
@pass_session
def add(session: Session, /, name: str, validate_only: bool, **fields: Any) -> None:
    """Test the catalog step by step, then store the destination."""
    from blade_client.cli.output import print_json, print_steps
    from blade_client.errors import ConnectionTestFailed

    wanted, _ = _destination(name, fields)
    with session.client() as blade:
        try:
            added = blade.destinations.create(wanted, validate_only=validate_only)
        except ConnectionTestFailed as failed:
            if not session.json:
                print_steps(failed.steps)
            raise
    if session.json:
        print_json(added)
        return
    print_steps(added.steps)
    _print_capabilities(added.capabilities)
    done = "would be fine; nothing was stored" if validate_only else "was added"
    click.echo(f"Destination {added.destination.name} {done}.")


@destination.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the destinations in the order of their names, the server's own first."""
    from blade_client.cli.output import message_dict, print_json, print_table

    with session.client() as blade:
        found = list(blade.destinations.list(page_size=1000))
    if session.json:
        print_json({"destinations": [message_dict(each) for each in found]})
        return
    print_table(
        ["NAME", "URL", "CEILING", "ITEMS/S", "CATALOG"],
        [
            [
                each.name,
                each.url,
                each.ceiling,
                f"{each.items_per_second:g}" if each.items_per_second else "",
                each.catalog_id,
            ]
            for each in found
        ],
        right=["ITEMS/S"],
    )


@destination.command()
@click.argument("name", shell_complete=destination_names)
@pass_session
def show(session: Session, name: str) -> None:
    """Show one destination."""
    with session.client() as blade:
        _show(session, blade.destinations.get(name))


@destination.command("set")
@click.argument("name", shell_complete=destination_names)
@_fields
@click.option("--etag", default="", metavar="ETAG", help="Fail if somebody changed it since it had this etag.")
@pass_session
def set_(session: Session, /, name: str, etag: str, **fields: Any) -> None:
    """Change the fields that are named by options, all of them or none.

    The catalog is tested first if anything but the display name, the ceiling or the limit changes.
    """
    wanted, paths = _destination(name, fields)
    wanted.etag = etag
    if not paths:
        raise click.UsageError("Nothing to change: name a field by an option.")
    with session.client() as blade:
        _show(session, blade.destinations.update(wanted, fields=paths))


@destination.command()
@click.argument("name", shell_complete=destination_names)
@click.option("--etag", default="", metavar="ETAG", help="Fail if the destination has another etag by now.")
@pass_session
def remove(session: Session, name: str, etag: str) -> None:
    """Remove a destination. The items that are there stay."""
    from blade_client.cli.output import print_json

    with session.client() as blade:
        blade.destinations.delete(name, etag=etag)
    if session.json:
        print_json({})
    else:
        click.echo(f"Destination {name} was removed.")


@destination.command()
@click.argument("name", shell_complete=destination_names)
@pass_session
def test(session: Session, name: str) -> None:
    """Take the steps of the test. Ends with code 5 if one fails."""
    from blade_client.cli.output import print_json, print_steps

    with session.client() as blade:
        result = blade.destinations.test(name)
    if session.json:
        print_json(result)
    else:
        print_steps(result.steps)
        _print_capabilities(result.capabilities)
    if not result.passed:
        click.get_current_context().exit(PRECONDITION)


def _destination(name: str, fields: Mapping[str, Any]) -> tuple[Destination, list[str]]:
    """The destination that the options say, and which of its fields they set."""
    from blade.v1.destination_pb2 import Destination

    given = {field: value for field, value in fields.items() if value is not None}
    timeout_s = given.pop("timeout_s", None)
    wanted = Destination(name=name, **given)
    if timeout_s is None:
        return wanted, sorted(given)
    wanted.timeout.FromTimedelta(timedelta(seconds=timeout_s))
    return wanted, sorted([*given, "timeout"])


def _print_capabilities(can: DestinationCapabilities) -> None:
    from blade_client.cli.output import print_pairs

    if not can.max_batch_items:
        return
    offers = {"look-ups": can.lookup, "deletes": can.deletes, "lists": can.list, "replaces by id": can.replaces_by_id}
    batches = f"batches of {can.max_batch_items:,}" if can.max_batch_items > 1 else "one item a request"
    print_pairs([("The catalog", ", ".join([batches, *(name for name, there in offers.items() if there)]))])


def _show(session: Session, shown: Destination) -> None:
    from blade_client.cli.output import moment, print_json, print_pairs

    if session.json:
        print_json(shown)
        return
    timeout_s = shown.timeout.ToTimedelta().total_seconds()
    print_pairs(
        [
            ("Name", shown.name),
            ("Display name", shown.display_name),
            ("URL", shown.url),
            ("Credentials", shown.credentials),
            ("CA file", shown.ca_file),
            ("Items per second", f"{shown.items_per_second:g}" if shown.items_per_second else ""),
            ("Timeout", f"{timeout_s:g} s" if timeout_s else ""),
            ("Ceiling", shown.ceiling),
            ("Catalog", shown.catalog_id),
            ("Changed by", "the operator of the server alone" if shown.read_only else ""),
            ("Added", moment(shown.create_time)),
            ("Changed", moment(shown.update_time)),
            ("Etag", shown.etag),
        ]
    )
