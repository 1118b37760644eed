"""`blade query`: rows of a source on the screen, or in a file."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from blade_client.cli.completion import data_types, source_names
from blade_client.cli.output import visible
from blade_client.cli.pairs import PAIR, names
from blade_client.cli.session import INT32, BladeCommand, Session, pass_session
from blade_client.cli.whole_file import whole_file

if TYPE_CHECKING:
    from blade_client.query_result import QueryResult

_ON_SCREEN = 100
ALL_ROWS = 1_000_000_000
"""The most that the service takes."""
_FORMATS = {".csv": "csv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".arrow": "arrow"}
_ENDINGS = ", ".join(_FORMATS)


@click.command(cls=BladeCommand)
@click.argument("data_type", shell_complete=data_types, required=False, default="")
@click.option(
    "--source",
    default="",
    shell_complete=source_names,
    metavar="NAME",
    help="Name of the source, in place of DATA_TYPE.",
)
@click.option("--filter", "filter_", default="", metavar="SQL", help='For example "priority = :p".')
@click.option("--param", type=PAIR, multiple=True, metavar="KEY=VALUE", help="Value of a :KEY in the filter.")
@click.option("--columns", multiple=True, metavar="A,B,...", help="Columns to return.  [default: all]")
@click.option("--order-by", multiple=True, metavar="A,'B desc',...", help="Columns to sort by.")
@click.option("--limit", type=INT32, help="Most rows.  [default: 100 on the screen, all in a FILE of --output]")
@click.option("--offset", type=INT32, default=0, help="Rows to skip first.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "ndjson", "csv", "arrow"]),
    help="How to write the rows.  [default: as the name of a FILE ends; on the screen table, json with --json]",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help=f"File to write; {_ENDINGS} say the format.  [default: stdout]",
)
@pass_session
def query(
    session: Session,
    *,
    data_type: str,
    source: str,
    filter_: str,
    param: tuple[tuple[str, str], ...],
    columns: tuple[str, ...],
    order_by: tuple[str, ...],
    limit: int | None,
    offset: int,
    form: str | None,
    output: str | None,
) -> None:
    """Read rows of the source of DATA_TYPE straight from the warehouse; nothing is stored.

    Format arrow writes an Arrow IPC stream (pyarrow.ipc.open_stream reads it), always of all rows; the others show
    items, and what they leave out they say.
    """
    if not data_type and not source:
        raise click.UsageError("Name a DATA_TYPE, or a source with --source.")
    output = None if output == "-" else output
    form = form or _form(output, json=session.json)
    if limit is None and form != "arrow":
        limit = ALL_ROWS if output else _ON_SCREEN
    with session.client() as blade:
        result = blade.query(
            data_type,
            source=source,
            filter=filter_,
            parameters=dict(param),
            columns=names(columns),
            order_by=names(order_by),
            limit=limit,
            offset=offset,
            timeout_s=session.timeout_s,
        )
        if form == "arrow":
            _write_arrow(result, output)
        else:
            _write_items(result, form, names(columns), output)


def _form(output: str | None, *, json: bool) -> str:
    """The format where none is named. A table is built whole in memory, so a file has one only if it is asked for."""
    named = _FORMATS.get(Path(output or "").suffix.lower())
    if named or json:
        return named or "json"
    if output:
        raise click.UsageError(f"How to write {output}? Say it with --format, or end its name with {_ENDINGS}.")
    return "table"


def _write_arrow(result: QueryResult, output: str | None) -> None:
    if output is None:
        if sys.stdout.isatty():
            raise click.UsageError("Arrow is binary: name a file with --output FILE, or pipe it on.")
        result.write_arrow(sys.stdout.buffer)
        sys.stdout.flush()
        return
    with whole_file(output) as file:
        rows = result.write_arrow(file)
    click.echo(f"Wrote {rows:,} rows to {output}.", err=True)


def _write_items(result: QueryResult, form: str, columns: list[str], output: str | None) -> None:
    from blade_client.cli.item_forms import WRITERS

    if output is None:
        WRITERS[form](result, columns, sys.stdout)
    else:
        with whole_file(output) as binary, io.TextIOWrapper(binary, "utf-8", newline="") as file:
            WRITERS[form](result, columns, file)
    if result.rejections and form != "json":
        first = result.rejections[0]
        count = len(result.rejections)
        told = f"{count:,} {'row' if count == 1 else 'rows'} could not become items"
        shown = visible(f"{first.field}: {first.message}")
        click.echo(f"{told}; the first: {shown} (--format json shows all).", err=True)
    if result.more_rows:
        way_out = "say how many with --limit, or write all to a file with --output FILE"
        click.echo(f"There are more rows than these: {way_out}.", err=True)
