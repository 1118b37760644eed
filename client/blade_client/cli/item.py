"""`blade item ...`: single items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blade_client.cli.completion import data_types, destination_names, source_names
from blade_client.cli.pairs import PAIR
from blade_client.cli.session import BladeGroup, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.item_pb2 import Item


_source = click.option(
    "--source",
    default="",
    shell_complete=source_names,
    metavar="NAME",
    help="Name of the source, if DATA_TYPE has several.",
)


@click.group(cls=BladeGroup)
def item() -> None:
    """Read or ingest a single item."""


@item.command()
@click.argument("data_type", shell_complete=data_types)
@click.argument("item_id")
@_source
@pass_session
def get(session: Session, data_type: str, item_id: str, source: str) -> None:
    """Show one row as an item; nothing is stored."""
    from blade_client.cli.output import print_json

    with session.client() as blade:
        found = blade.get_item(data_type, item_id, source=source)
    if session.json:
        print_json(found)
    else:
        _show(found)


@item.command()
@click.argument("data_type", shell_complete=data_types)
@click.argument("item_id")
@_source
@click.option("--replace", is_flag=True, help="Upload the item even if the catalog has it.")
@click.option(
    "--destination",
    default="",
    shell_complete=destination_names,
    metavar="NAME",
    help="Catalog it goes to.  [default: the source's]",
)
@click.option("--metadata", type=PAIR, multiple=True, metavar="KEY=VALUE", help="Added to the item.")
@pass_session
def ingest(
    session: Session,
    *,
    data_type: str,
    item_id: str,
    source: str,
    replace: bool,
    destination: str,
    metadata: tuple[tuple[str, str], ...],
) -> None:
    """Bring one item into the catalog. Repeating it is safe."""
    from blade.v1.ingest_service_pb2 import IngestItemResponse
    from blade_client.cli.output import print_json

    with session.client() as blade:
        result = blade.ingest_item(
            data_type,
            item_id,
            source=source,
            replace=replace,
            metadata=dict(metadata),
            destination=destination,
        )
    if session.json:
        print_json(result)
        return
    click.echo(
        {
            IngestItemResponse.CREATED: f"{item_id} is in the catalog now ({result.bytes_uploaded:,} bytes).",
            IngestItemResponse.REPLACED: f"{item_id} was replaced ({result.bytes_uploaded:,} bytes).",
            IngestItemResponse.ALREADY_EXISTS: f"{item_id} was in the catalog already; --replace sends it again.",
        }.get(result.outcome, f"{item_id}: {IngestItemResponse.Outcome.Name(result.outcome)}")
    )


def _show(shown: Item) -> None:
    from blade_client.cli.item_forms import cell, row
    from blade_client.cli.output import moment, pairs_text, print_pairs

    print_pairs(
        [
            ("Item id", shown.item_id),
            ("Data type", shown.data_type),
            ("Classification", shown.classification),
            ("Last modified", moment(shown.last_modified)),
            ("Metadata", pairs_text(dict(shown.metadata))),
        ]
    )
    click.echo("Data")
    print_pairs([(f"  {name}", cell(value) or "-") for name, value in row(shown).items()])
