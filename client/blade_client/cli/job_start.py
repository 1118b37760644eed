"""`blade job start`, `preview`, `retry` and `clone`: what makes a job, or shows what one would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from blade_client.cli.completion import data_types, destination_names, job_ids, source_names
from blade_client.cli.pairs import PAIR
from blade_client.cli.session import INT32, INT64, BladeCommand, Session, pass_session

if TYPE_CHECKING:
    from blade.v1.job_pb2 import Job

F = TypeVar("F", bound=Callable[..., Any])
_PREVIEWED = 10  # see PreviewItemsRequest.limit

_sql = click.argument("sql", required=False, default="")
_file = click.option("--file", type=click.File(encoding="utf-8"), help="File with the SQL; - for standard input.")
_source = click.option("--source", default="", shell_complete=source_names, metavar="NAME", help="Name of the source.")
_data_type = click.option(
    "--data-type", default="", shell_complete=data_types, metavar="NAME", help="Data type of the source."
)
_metadata = click.option("--metadata", type=PAIR, multiple=True, metavar="KEY=VALUE", help="Added to every item.")
_destination = click.option(
    "--destination",
    default="",
    shell_complete=destination_names,
    metavar="NAME",
    help="Catalog that the items go to.  [default: the source's]",
)
_classification = click.option(
    "--classification", default="", metavar="VALUE", help="Classification of all items, not the mapping's."
)
_item_id = click.option(
    "--item-id", default="", metavar="TEMPLATE", help="Template of the item ids, not the mapping's."
)
_last_modified = click.option(
    "--last-modified", metavar="COLUMN", help="Column with the time of the last change, not the mapping's."
)
_no_last_modified = click.option(
    "--no-last-modified", "last_modified", flag_value="", help="Items have no time of the last change."
)


def _mapping(command: F) -> F:
    """The options that take the place of the source's mapping."""
    for option in (_no_last_modified, _last_modified, _item_id, _classification):
        command = option(command)
    return command


@click.command(cls=BladeCommand)
@_sql
@_file
@_source
@_data_type
@click.option("--batch-size", type=INT32, help="Items in one upload batch, 1 to 1000.  [default: 100]")
@click.option("--workers", type=INT32, help="Upload workers, 1 to 64.  [default: the server's]")
@click.option("--items-per-second", type=float, help="Most items per second.  [default: the source's limit]")
@click.option("--max-errors", type=INT64, help="Fail once more items than this have failed.")
@click.option("--max-error-share", type=float, help="Fail once more than this share has failed, as 0.05.")
@_metadata
@_mapping
@click.option("--skip-existing", is_flag=True, help="Leave out items that the catalog has.")
@_destination
@click.option("--request-id", metavar="ID", help="The same id again answers with the same job.")
@click.option("--watch", "and_watch", is_flag=True, help="Follow the job to its end.")
@pass_session
def start(
    session: Session,
    *,
    sql: str,
    file: IO[str] | None,
    source: str,
    data_type: str,
    batch_size: int | None,
    workers: int | None,
    items_per_second: float | None,
    max_errors: int | None,
    max_error_share: float | None,
    metadata: tuple[tuple[str, str], ...],
    classification: str,
    item_id: str,
    last_modified: str | None,
    skip_existing: bool,
    destination: str,
    request_id: str | None,
    and_watch: bool,
) -> None:
    """Start a job over the rows of SQL, or over every row of a source."""
    with session.client() as blade:
        started = blade.start_query_job(
            _query_text(sql, file, source, data_type),
            data_type=data_type,
            source=source,
            batch_size=batch_size,
            workers=workers,
            items_per_second=items_per_second,
            max_errors=max_errors,
            max_error_share=max_error_share,
            metadata=dict(metadata),
            classification=classification,
            item_id=item_id,
            last_modified=last_modified,
            skip_existing=skip_existing,
            destination=destination,
            request_id=request_id,
        )
    _started(session, started, and_watch=and_watch)


@click.command(cls=BladeCommand)
@_sql
@_file
@_source
@_data_type
@click.option("--limit", type=INT32, help="Rows to look at, 1 to 1000.  [default: 10]")
@_metadata
@_mapping
@pass_session
def preview(
    session: Session,
    *,
    sql: str,
    file: IO[str] | None,
    source: str,
    data_type: str,
    limit: int | None,
    metadata: tuple[tuple[str, str], ...],
    classification: str,
    item_id: str,
    last_modified: str | None,
) -> None:
    """Show the first items a job would produce; nothing is written."""
    from blade_client.cli.item_forms import show_items
    from blade_client.cli.job_forms import reason_name
    from blade_client.cli.output import print_item_ids, print_json, print_table

    with session.client() as blade:
        result = blade.preview_items(
            _query_text(sql, file, source, data_type),
            data_type=data_type,
            source=source,
            limit=limit,
            metadata=dict(metadata),
            classification=classification,
            item_id=item_id,
            last_modified=last_modified,
        )
    if session.json:
        print_json(result)
        return
    show_items(result.items)
    if len(result.items) + len(result.rejections) == (limit or _PREVIEWED):
        click.echo(f"These are the first {limit or _PREVIEWED:,} rows; --limit shows more.", err=True)
    if result.rejections:
        click.echo(f"\n{len(result.rejections)} of these rows would be rejected:")
        print_table(
            ["ITEM ID", "REASON", "FIELD", "MESSAGE"],
            [[each.item_id, reason_name(each.reason), each.field, each.message] for each in result.rejections],
        )
    print_item_ids(result.item_ids)


@click.command(cls=BladeCommand)
@click.argument("job_id", shell_complete=job_ids)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the job's history.")
@click.option("--watch", "and_watch", is_flag=True, help="Follow the new job to its end.")
@pass_session
def retry(session: Session, job_id: str, reason: str, and_watch: bool) -> None:
    """Start a new job over the failed items of a final one."""
    with session.client() as blade:
        started = blade.retry_failed(job_id, reason)
    _started(session, started, and_watch=and_watch)


@click.command(cls=BladeCommand)
@click.argument("job_id", shell_complete=job_ids)
@click.option("--watch", "and_watch", is_flag=True, help="Follow the new job to its end.")
@pass_session
def clone(session: Session, job_id: str, and_watch: bool) -> None:
    """Start a new job that asks for what another one asked for: its SQL, limits, metadata, all of it."""
    with session.client() as blade:
        started = blade.clone_job(job_id)
    _started(session, started, and_watch=and_watch)


def _query_text(sql: str, file: IO[str] | None, source: str, data_type: str) -> str:
    if sql and file:
        raise click.UsageError("Give SQL or --file, not both.")
    try:
        sql = file.read() if file else sql
    except UnicodeDecodeError as wrong:
        assert file is not None
        raise click.UsageError(f"{file.name} is not UTF-8 text: {wrong}") from wrong
    if not sql and not source and not data_type:
        raise click.UsageError("Give SQL, a --file with SQL, or a --source to take every row of.")
    return sql


def _started(session: Session, started: Job, *, and_watch: bool) -> None:
    from blade_client.cli.following import follow
    from blade_client.cli.output import print_json

    if session.json:
        print_json(started, lines=and_watch)
    else:
        click.echo(f"Started {started.job_id}.")
    if and_watch:
        click.get_current_context().exit(follow(session, started.job_id))
    if not session.json:
        click.echo(f"Follow it with: blade job watch {started.job_id}")
