"""`blade source ...`: what is configured on the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blade_client.cli.completion import data_types, source_names
from blade_client.cli.costs import cost
from blade_client.cli.failures import PRECONDITION
from blade_client.cli.pairs import PAIR
from blade_client.cli.session import INT32, BladeGroup, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.source_pb2 import Mapping, Source

F = TypeVar("F", bound=Callable[..., Any])

_FIELDS = [
    click.option("--display-name", metavar="TEXT", help="A name for people."),
    click.option("--data-type", metavar="NAME", help="The kind of records, for example maintenance."),
    click.option("--enabled/--disabled", default=None, help="Whether it may be used.  [default: enabled]"),
    click.option("--table", metavar="CATALOG.SCHEMA.TABLE", help="The table or view; quote odd names with ``."),
    click.option("--warehouse-id", metavar="ID", help="SQL warehouse.  [default: the server's]"),
    click.option("--host", metavar="NAME", help="Host of the workspace.  [default: the server's]"),
    click.option("--credentials", metavar="REFERENCE", help="env:NAME or file:PATH; never a token itself."),
    click.option("--items-per-second", type=float, help="Limit over all jobs of the source; 0: none."),
    click.option("--max-running-jobs", type=INT32, help="Jobs at once; 0: as many as the server allows."),
    click.option("--destination", metavar="NAME", help="Catalog that its items go to.  [default: default]"),
    click.option("--item-id", metavar="TEMPLATE", help="For example 'MAINT-{tail_number}-{due_date:%Y}'."),
    click.option("--last-modified", metavar="COLUMN", help="Column with the time of the last change."),
    click.option("--no-last-modified", "last_modified", flag_value="", help="Items have no time of the last change."),
    click.option("--classification", metavar="VALUE", help="Classification of all rows, for example UNCLASS."),
    click.option("--classification-column", metavar="COLUMN", help="Column with each row's classification."),
    click.option("--min-classification", metavar="VALUE", help="The least one: what is lower is raised to it."),
    click.option("--mask", multiple=True, metavar="COLUMN", help="Not there for who is no EDITOR; '' for none."),
    click.option("--metadata", type=PAIR, multiple=True, metavar="KEY=VALUE", help="Added to every item."),
]


def source_fields(command: F) -> F:
    """The options that set the fields of a source."""
    for option in reversed(_FIELDS):
        command = option(command)
    return command


@click.group(cls=BladeGroup)
def source() -> None:
    """Configure sources: tables whose rows become items."""


@source.command()
@click.argument("file", type=click.File(encoding="utf-8"), required=False)
@click.option("--name", metavar="NAME", help="Unique name: lower-case letters, digits, hyphens.")
@source_fields
@click.option("--validate-only", is_flag=True, help="Test only, store nothing.")
@pass_session
def add(session: Session, /, file: Any, name: str | None, validate_only: bool, **fields: Any) -> None:
    """Test the connection step by step, then store the source.

    FILE holds the source as JSON (`-`: standard input). Options set fields, also over those of FILE.
    """
    from blade_client.cli.output import print_item_ids, print_json, print_pairs, print_steps
    from blade_client.cli.source_form import read_source, set_fields
    from blade_client.errors import ConnectionTestFailed

    wanted, _ = read_source(file)
    if name:
        wanted.name = name
    set_fields(wanted, fields)
    with session.client() as blade:
        try:
            added = blade.add_source(wanted, validate_only=validate_only)
        except ConnectionTestFailed as failed:
            if not session.json:
                print_steps(failed.steps)
            raise
    if session.json:
        print_json(added)
        return
    print_steps(added.steps)
    print_item_ids(added.item_ids)
    print_pairs([("By default", ", ".join(_by_default(wanted.mapping, added.source.mapping)))])
    done = "would be fine; nothing was stored" if validate_only else "was added"
    click.echo(f"Source {added.source.name} {done}.")


source.add_command(cost)


@source.command("list")
@click.option(
    "--data-type", default="", shell_complete=data_types, metavar="NAME", help="Only sources of this data type."
)
@pass_session
def list_(session: Session, data_type: str) -> None:
    """List the sources in the order of their names."""
    from blade_client.cli.output import message_dict, moment, print_json, print_table

    with session.client() as blade:
        found = list(blade.list_sources(data_type=data_type, page_size=1000))
    if session.json:
        print_json({"sources": [message_dict(each) for each in found]})
    elif not found:
        click.echo("There are no sources. Add one with `blade source add`.", err=True)
    else:
        print_table(
            ["NAME", "DATA TYPE", "ENABLED", "TABLE", "ITEMS", "LAST SUCCESS (UTC)"],
            [
                [
                    each.name,
                    each.data_type,
                    "yes" if each.enabled else "no",
                    _table_name(each),
                    f"{each.stats.item_count:,}",
                    moment(each.stats.last_success_time),
                ]
                for each in found
            ],
            right=["ITEMS"],
        )


@source.command()
@click.argument("name", shell_complete=source_names)
@pass_session
def show(session: Session, name: str) -> None:
    """Show one source."""
    with session.client() as blade:
        _show(session, blade.get_source(name))


@source.command()
@click.argument("name", shell_complete=source_names)
@click.argument("file", type=click.File(encoding="utf-8"), required=False)
@source_fields
@click.option("--etag", metavar="ETAG", help="Fail if somebody changed the source since it had this etag.")
@pass_session
def update(session: Session, /, name: str, file: Any, etag: str | None, **fields: Any) -> None:
    """Change the fields that are named by options or set in FILE, all of them or none.

    The connection is tested first, and item ids are counted, if anything but the display name, enabled or a limit
    changes.
    """
    from blade_client.cli.output import message_dict, print_item_ids, print_json
    from blade_client.cli.source_form import read_source, set_fields

    wanted, paths = read_source(file)
    wanted.name = name
    if etag:
        wanted.etag = etag
    paths += set_fields(wanted, fields)
    if not paths:
        raise click.UsageError("Nothing to change: name a field by an option, or give a FILE.")
    with session.client() as blade:
        updated = blade.update_source_response(wanted, fields=sorted(set(paths)))
    if session.json:
        counted = {"itemIds": message_dict(updated.item_ids)} if updated.HasField("item_ids") else {}
        print_json(message_dict(updated.source) | counted)
        return
    _show(session, updated.source)
    print_item_ids(updated.item_ids)


@source.command()
@click.argument("name", shell_complete=source_names)
@pass_session
def test(session: Session, name: str) -> None:
    """Take the steps of the connection test. Ends with code 5 if one fails."""
    from blade_client.cli.output import print_item_ids, print_json, print_steps

    with session.client() as blade:
        result = blade.test_source(name)
    if session.json:
        print_json(result)
    else:
        print_steps(result.steps)
        print_item_ids(result.item_ids)
    if not result.passed:
        click.get_current_context().exit(PRECONDITION)


@source.command()
@click.argument("name", shell_complete=source_names)
@click.option("--etag", default="", metavar="ETAG", help="Fail if the source has another etag by now.")
@pass_session
def remove(session: Session, name: str, etag: str) -> None:
    """Remove a source. What it brought into the catalog stays."""
    from blade_client.cli.output import print_json

    with session.client() as blade:
        blade.remove_source(name, etag=etag)
    if session.json:
        print_json({})
    else:
        click.echo(f"Source {name} was removed.")


def _by_default(wanted: Mapping, stored: Mapping) -> list[str]:
    """What of a mapping nobody asked for, in words."""
    taken = []
    if not wanted.item_id and stored.item_id:
        taken.append(f"item id from column {stored.item_id}")
    if not wanted.HasField("last_modified") and stored.HasField("last_modified"):
        column = stored.last_modified
        where = f"from column {column} (--no-last-modified for none)" if column else "none (--last-modified COLUMN)"
        taken.append(f"time of the last change {where}")
    if wanted.classification.WhichOneof("from") is None and stored.classification.column:
        taken.append(f"classification from column {stored.classification.column}")
    return taken


def _table_name(shown: Source) -> str:
    return f"{shown.config.catalog}.{shown.config.schema}.{shown.config.table}"


def _show(session: Session, shown: Source) -> None:
    from blade_client.cli.output import moment, pairs_text, print_json, print_pairs

    if session.json:
        print_json(shown)
        return
    mapping, config, stats = shown.mapping, shown.config, shown.stats
    by_column = mapping.classification.WhichOneof("from") == "column"
    print_pairs(
        [
            ("Name", shown.name),
            ("Display name", shown.display_name),
            ("Data type", shown.data_type),
            ("Enabled", "yes" if shown.enabled else "no"),
            ("Table", _table_name(shown)),
            ("Warehouse", config.warehouse_id),
            ("Host", config.host),
            ("Credentials", config.credentials),
            ("Items per second", f"{config.items_per_second:g}" if config.items_per_second else ""),
            ("Jobs at once", str(config.max_running_jobs) if config.max_running_jobs else ""),
            ("Destination", config.destination if config.destination != "default" else ""),
            ("Item id", mapping.item_id),
            ("Last modified", f"column {mapping.last_modified}" if mapping.last_modified else ""),
            (
                "Classification",
                f"column {mapping.classification.column}" if by_column else mapping.classification.value,
            ),
            ("At least", mapping.min_classification),
            ("Masked", ", ".join(mapping.masked_columns)),
            ("Metadata", pairs_text(dict(mapping.metadata))),
            ("Items so far", f"{stats.item_count:,}"),
            ("Last job", stats.last_job_id),
            ("Last success", moment(stats.last_success_time)),
            ("Added", moment(shown.create_time)),
            ("Changed", moment(shown.update_time)),
            ("Etag", shown.etag),
        ]
    )
