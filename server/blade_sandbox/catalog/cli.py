"""`blade sandbox catalog`: the sandbox catalog as a process of its own."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click
from platformdirs import user_data_path

from blade_sandbox.catalog.server import CatalogServer


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--token", envvar="BLADE_CATALOG_TOKEN", help="Bearer token it asks for. Default: none.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where items are kept. Default: the user's data folder.",
)
@click.option("--no-batch", is_flag=True, help="Take one item a request only.")
@click.option("--no-lookup", is_flag=True, help="Answer no batch look-ups; HEAD of one item stays.")
@click.option("--no-deletes", is_flag=True, help="Delete nothing.")
@click.option("--no-batch-delete", is_flag=True, help="Delete one item a request only.")
@click.option("--no-list", is_flag=True, help="List no items.")
@click.option("--append", is_flag=True, help="Keep every upload as another copy instead of replacing by id.")
@click.option("--max-batch-items", default=500, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--max-delete-items", default=500, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--max-request-bytes", default=32 * 1024 * 1024, show_default=True, type=click.IntRange(1024))
@click.option(
    "--idempotency-keys", default=10_000, show_default=True, type=click.IntRange(0), help="Keys remembered; 0: none."
)
def catalog(  # noqa: PLR0917
    host: str,
    port: int,
    token: str | None,
    directory: Path | None,
    no_batch: bool,
    no_lookup: bool,
    no_deletes: bool,
    no_batch_delete: bool,
    no_list: bool,
    append: bool,
    max_batch_items: int,
    max_delete_items: int,
    max_request_bytes: int,
    idempotency_keys: int,
) -> None:
    """Run a catalog that keeps what it gets on disk, until Ctrl+C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = CatalogServer(
        host=host,
        port=port,
        token=token,
        directory=directory or user_data_path("blade") / "sandbox" / "catalog",
        batch=not no_batch,
        lookup=not no_lookup,
        deletes=not no_deletes,
        batch_delete=not no_batch_delete,
        listing=not no_list,
        replace=not append,
        max_batch_items=max_batch_items,
        max_delete_items=max_delete_items,
        max_request_bytes=max_request_bytes,
        idempotency_keys=idempotency_keys,
    )
    try:
        server.start()
    except (OSError, RuntimeError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"catalog: {server.url}")
    try:
        stop.wait()
    finally:
        server.stop()
