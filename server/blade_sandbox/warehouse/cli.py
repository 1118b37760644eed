"""``blade sandbox warehouse``: the warehouse alone, until it is told to stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from blade_sandbox.warehouse.http.server import Warehouse


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 picks a free one.")
@click.option("--token", default="sandbox-token", show_default=True, help="The access token clients must send.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="CATALOG.SCHEMA.NAME=FILE",
    help="A Parquet, CSV, JSON or NDJSON file as a table; can be given many times.",
)
@click.option("--warehouse-id", default="sandbox", show_default=True, help="Last part of the HTTP path.")
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    help="DuckDB file that keeps all tables; without it they are gone at the end.",
)
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True), help="PEM certificate: serve https.")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="PEM key of the certificate.")
def warehouse(  # noqa: PLR0917 - click passes options by name
    host: str,
    port: int,
    token: str,
    tables: tuple[str, ...],
    warehouse_id: str,
    database: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Run a Databricks SQL warehouse emulator for the unmodified databricks-sql-connector."""
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    server = Warehouse(
        host=host,
        port=port,
        token=token,
        tables=dict(_table(option) for option in tables),
        warehouse_id=warehouse_id,
        database=database,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server.start()
    except (ValueError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    try:
        click.echo(connect_line(server))
        stopped.wait()
    finally:
        server.stop()


def connect_line(server: Warehouse) -> str:
    """One line that says how to connect: URL, HTTP path and the Python that does it."""
    if server.url.startswith("https"):
        target = f"{server.host!r}, _port={server.port}, http_path={server.http_path!r}"
    else:
        uri = server.url + server.http_path
        target = f"{server.url!r}, http_path={server.http_path!r}, _connection_uri={uri!r}"
    return (
        f"warehouse {server.url} path {server.http_path} python: databricks.sql.connect({target}, "
        f"access_token=<token>, enable_telemetry=False)"
    )


def _table(option: str) -> tuple[str, Path]:
    name, equals, path = option.partition("=")
    if not equals or not path:
        raise click.BadParameter(f"{option!r} has not the form CATALOG.SCHEMA.NAME=FILE", param_hint="--table")
    return name, Path(path)
