"""`blade login`, `logout` and `whoami`: signing in to a server, and who one is there."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from blade_client.cli.failures import PRECONDITION
from blade_client.cli.session import DEFAULT_SERVER, BladeCommand, Session, pass_session

if TYPE_CHECKING:
    from blade_client.profiles import Profile

_MAX_CHARACTERS = 64 * 1024


@click.command(cls=BladeCommand)
@pass_session
def login(session: Session) -> None:
    """Sign in to a server and keep the token.

    The token comes from standard input or --token-file, or is asked for. It is checked first, and kept as a profile, a
    file that only you can read; later commands for that server use it.
    """
    from blade_client import profiles
    from blade_client.cli.access_forms import OFF
    from blade_client.cli.output import print_json
    from blade_client.private_file import checked_token, read_private

    known = _known(session)
    server = session.server or (known.server if known else DEFAULT_SERVER)
    name = _named(session) or (known.name if known else profiles.name_for(server))
    if known is not None and known.is_for(server):
        session.tls, session.tls_ca = session.tls or known.tls, session.tls_ca or known.ca_file or None
    try:
        profiles.file_of(name)
        given = read_private(session.token_file) if session.token_file else _token(server)
        token = checked_token(given, "What came in")
    except (ValueError, OSError) as wrong:
        raise click.UsageError(str(wrong)) from wrong
    with session.client(target=server, token=token, profile="") as blade:
        me = blade.access.who_am_i()
    if me.kind == OFF:
        click.echo(
            f"Nobody signs in at {server} (BLADE_AUTH=off), so the token was not checked and nothing is kept.", err=True
        )
        click.get_current_context().exit(PRECONDITION)
    ca_file = str(Path(session.tls_ca).absolute()) if session.tls_ca else ""
    file = profiles.save(profiles.Profile(name=name, server=server, token=token, tls=session.tls, ca_file=ca_file))
    for variable in ("BLADE_TOKEN_FILE", "BLADE_TOKEN"):
        if os.environ.get(variable):
            click.echo(f"{variable} is set, and goes before this profile: unset it.", err=True)
    if session.json:
        print_json({"profile": name, "server": server, "principal": me.principal, "file": str(file)})
    else:
        click.echo(f"Signed in to {server} as {me.principal}; the token is in the profile {name} ({file}).")


@click.command(cls=BladeCommand)
@pass_session
def logout(session: Session) -> None:
    """Forget the token of a server.

    Its profile is removed. The token itself stays good until somebody revokes it.
    """
    from blade_client import profiles
    from blade_client.cli.output import print_json

    known = _known(session)
    try:
        name = known.name if known else _named(session)
        removed = profiles.remove(name) if name else False
    except ValueError as wrong:
        raise click.UsageError(str(wrong)) from wrong
    if session.json:
        print_json({"profile": name if removed else None})
    elif removed:
        click.echo(f"The profile {name} is gone. Its token is good until an ADMIN revokes it: `blade token revoke ID`.")
    else:
        click.echo(f"There is no profile {name or f'of {session.server or DEFAULT_SERVER}'}.", err=True)


@click.command(cls=BladeCommand)
@pass_session
def whoami(session: Session) -> None:
    """Show who you are for the server, and what you may do."""
    from blade_client.cli.access_forms import show_me
    from blade_client.cli.output import print_json

    with session.client() as blade:
        me = blade.access.who_am_i()
    if session.json:
        print_json(me)
    else:
        show_me(me)


def _named(session: Session) -> str:
    return session.profile or os.environ.get("BLADE_PROFILE", "").strip()


def _known(session: Session) -> Profile | None:
    """The profile that is meant, if it is there and whole."""
    from blade_client import profiles

    with suppress(ValueError, OSError):
        name = _named(session)
        return profiles.load(name) if name else profiles.load_for(session.server or DEFAULT_SERVER)
    return None


def _token(server: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Token for {server}", hide_input=True, err=True)).strip()
    return sys.stdin.read(_MAX_CHARACTERS).strip()
