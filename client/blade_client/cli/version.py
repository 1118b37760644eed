"""`blade version`."""

from __future__ import annotations

import platform
from importlib.metadata import version as installed

import click

from blade_client.cli.session import BladeCommand, Session, pass_session


@click.command(cls=BladeCommand)
@pass_session
def version(session: Session) -> None:
    """Show the versions of BLADE, Python and gRPC."""
    versions = {
        "blade": installed("blade"),
        "python": platform.python_version(),
        "grpcio": installed("grpcio"),
        "protobuf": installed("protobuf"),
    }
    if session.json:
        from blade_client.cli.output import print_json

        print_json(versions)
        return
    for name, number in versions.items():
        click.echo(f"{name:<9} {number}")
