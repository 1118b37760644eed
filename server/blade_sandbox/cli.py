"""`blade sandbox`: all three servers on one machine, or the warehouse or the catalog alone.

The sub-commands are imported when they are called: the catalog needs no DuckDB, and `--help` needs neither.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import click

_PARTS = {
    "warehouse": "Run a Databricks SQL warehouse emulator alone.",
    "catalog": "Run a catalog server alone.",
}

_POLL_S = 0.5


class _Parts(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_PARTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return click.Command(cmd_name, short_help=_PARTS[cmd_name]) if cmd_name in _PARTS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _PARTS:
            command = getattr(import_module(f"blade_sandbox.{args[0]}.cli"), args[0])
            assert isinstance(command, click.Command)
            return args[0], command, args[1:]
        return super().resolve_command(ctx, args)


@click.group(cls=_Parts, invoke_without_command=True)
@click.option("--port", default=50051, show_default=True, type=click.IntRange(0, 65535), help="gRPC; 0: a free port.")
@click.option("--http-port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="HTTP of the server.")
@click.option("--warehouse-port", default=8081, show_default=True, type=click.IntRange(0, 65535))
@click.option("--catalog-port", default=8090, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="CATALOG.SCHEMA.NAME=FILE",
    help="A further table from a Parquet, CSV, JSON or NDJSON file; can be given many times.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep sources, jobs and items here. Default: a temp folder, gone at the end.",
)
@click.pass_context
def sandbox(
    ctx: click.Context,
    *,
    port: int,
    http_port: int,
    warehouse_port: int,
    catalog_port: int,
    tables: tuple[str, ...],
    directory: Path | None,
) -> None:
    """Run a warehouse with sample tables, a catalog and a BLADE server between them, until Ctrl+C.

    Nobody signs in (BLADE_AUTH=off): whoever reaches the server, which is on this machine only, may do everything.

    With a sub-command: that part alone.
    """
    if ctx.invoked_subcommand is not None:
        return
    from blade_sandbox.data import sample_tables
    from blade_sandbox.guide import describe
    from blade_sandbox.interrupt import sigterm_as_ctrl_c
    from blade_sandbox.sandbox import Ports, Sandbox
    from blade_sandbox.scratch import temporary_folder
    from blade_sandbox.server_process import ServerFailedError

    with ExitStack() as stack:
        stack.enter_context(sigterm_as_ctrl_c())
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        folder = directory or stack.enter_context(temporary_folder())
        servers = Sandbox(
            folder.absolute(),
            tables={**sample_tables(), **dict(_table(option) for option in tables)},
            ports=Ports(grpc=port, http=http_port, warehouse=warehouse_port, catalog=catalog_port),
        )
        try:
            stack.enter_context(servers)
            click.echo(f"{describe(servers)}\n\nCtrl+C stops everything.")
            while True:
                time.sleep(_POLL_S)
                servers.check()
        except ServerFailedError as exc:
            raise click.ClickException(str(exc)) from exc
        except KeyboardInterrupt:
            click.echo("\nStopping.")


def _table(option: str) -> tuple[str, Path]:
    name, equals, file = option.partition("=")
    if not equals or not file:
        raise click.BadParameter(f"{option!r} has not the form CATALOG.SCHEMA.NAME=FILE", param_hint="--table")
    return name, Path(file).absolute()
