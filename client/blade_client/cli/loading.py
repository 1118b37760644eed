"""Where commands come from: our own modules, and the entry points of other packages, each loaded when needed."""

from __future__ import annotations

import io
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click

from blade_client.cli.failures import guarded
from blade_client.cli.session import session_options

_OWN = {
    "source": "source",
    "destination": "destination",
    "query": "query",
    "item": "item",
    "job": "job",
    "sync": "sync",
    "notify": "notify",
    "apply": "apply",
    "export": "export",
    "schema": "export",
    "login": "login",
    "logout": "login",
    "whoami": "login",
    "open": "open",
    "auth": "auth",
    "token": "token",
    "grant": "grant",
    "access": "access",
    "audit": "audit",
    "version": "version",
}
"""Command -> module that has it."""
_ENTRY_POINTS = "blade.commands"
# What --help says about commands it must not import. The packages they need come with the extra named second.
_EXTRAS = {
    "serve": ("Run the BLADE server.", "server"),
    "config": ("Show or check the settings of a server; it need not run.", "server"),
    "health": ("Say whether the server of this machine serves.", "server"),
    "doctor": ("Look at all that a server needs, and say what is wrong and the way out.", "server"),
    "migrate": ("Bring the database up to date.", "server"),
    "create-admin-token": ("Make an admin token in the database, for when nobody can sign in.", "server"),
    "prune-audit": ("Take old months out of the audit log, after writing them to a file.", "server"),
    "sandbox": ("Run a sandbox warehouse and catalog, and the server between them.", "sandbox"),
    "demo": ("Run the main job on real flights from start to finish, and check it.", "sandbox"),
}


class LazyGroup(click.Group):
    """The main group: lists all commands, imports the one that is called."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params.extend(session_options(root=True))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our own commands first, then those that need an extra."""
        return [*_OWN, *_EXTRAS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; for one that needs an extra, a stand-in that is good for --help and completion."""
        if cmd_name in _OWN:
            command = getattr(import_module(f"blade_client.cli.{_OWN[cmd_name]}"), cmd_name)
            assert isinstance(command, click.Command)
            return command
        if cmd_name in _EXTRAS:
            return click.Command(cmd_name, short_help=_EXTRAS[cmd_name][0])
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but loads a command of another package for real."""
        if args[0] not in _OWN:
            command = _load(args[0])
            if command is not None:
                return args[0], command, args[1:]
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            like = get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f" Did you mean {like[0]!r}?" if like else ""
            raise click.UsageError(f"No such command {args[0]!r}.{meant}", ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; its errors become a sentence and an exit code."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # an odd character must not end a listing
        with guarded(ctx):
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()  # here an error can still be told; at the interpreter's end it cannot


def _load(name: str) -> click.Command | None:
    from importlib.metadata import entry_points

    for entry in entry_points(group=_ENTRY_POINTS, name=name):
        try:
            command = entry.load()
        except ModuleNotFoundError as missing:
            _say_missing(name, f"the Python package {missing.name}, which is not installed")
        assert isinstance(command, click.Command), f"{entry.value} is not a click command"
        return command
    if name in _EXTRAS:  # run from a checkout that was never installed
        _say_missing(name, "an installed BLADE")
    return None


def _say_missing(name: str, what: str) -> NoReturn:
    extra = _EXTRAS[name][1] if name in _EXTRAS else name
    click.echo(f"`blade {name}` needs {what}. Install it with: pip install 'blade[{extra}]'", err=True)
    sys.exit(2)
