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
@click.option("--oidc", is_flag=True, help="Sign in at the server's identity provider, in a browser on any device.")
@click.option("--issuer", metavar="URL", help="The identity provider.  [default: what the server says]")
@click.option("--client-id", metavar="ID", help="Client there, with the device flow.  [default: what the server says]")
@click.option("--scope", metavar="NAME", multiple=True, help="What to ask for.  [default: what the server says]")
@click.option("--audience", metavar="NAME", help="What tokens for the server name.  [default: what the server says]")
@pass_session
def login(
    session: Session,
    *,
    oidc: bool,
    issuer: str | None,
    client_id: str | None,
    scope: tuple[str, ...],
    audience: str | None,
) -> None:
    """Sign in to a server and keep the token.

    The token comes from standard input or --token-file, or is asked for; with --oidc the server's identity provider
    gives it. It is checked first, and kept as a profile, a file that only you can read; later commands for that server
    use it, and renew it if the identity provider lets them.
    """
    from blade_client import profiles
    from blade_client.private_file import checked_token, read_private

    if not oidc and (issuer or client_id or scope or audience):
        raise click.UsageError("--issuer, --client-id, --scope and --audience are for --oidc.")
    known = _known(session)
    server = session.server or (known.server if known else DEFAULT_SERVER)
    name = _named(session) or (known.name if known else profiles.name_for(server))
    if known is not None and known.is_for(server):
        session.tls, session.tls_ca = session.tls or known.tls, session.tls_ca or known.ca_file or None
    renewal = None
    try:
        profiles.file_of(name)
        if oidc:
            from blade_client.cli.oidc import Wanted, sign_in

            wanted = Wanted(issuer=issuer, client_id=client_id, scopes=scope, audience=audience)
            given, renewal = sign_in(session, server, wanted)
        else:
            given = read_private(session.token_file) if session.token_file else _token(server)
        token = checked_token(given, "What came in")
    except (ValueError, OSError) as wrong:
        raise click.UsageError(str(wrong)) from wrong
    ca_file = str(Path(session.tls_ca).absolute()) if session.tls_ca else ""
    profile = profiles.Profile(name=name, server=server, token=token, tls=session.tls, ca_file=ca_file, renewal=renewal)
    _keep(session, profile)


def _keep(session: Session, profile: Profile) -> None:
    """Stores a profile, once its server has let its token in."""
    from blade_client import profiles
    from blade_client.cli.access_forms import OFF
    from blade_client.cli.output import print_json

    server = profile.server
    with session.client(target=server, token=profile.token, profile="") as blade:
        me = blade.access.who_am_i()
    if me.kind == OFF:
        click.echo(
            f"Nobody signs in at {server} (BLADE_AUTH=off), so the token was not checked and nothing is kept.", err=True
        )
        click.get_current_context().exit(PRECONDITION)
    with profiles.changing(profile.name):
        file = profiles.save(profile)
    for variable in ("BLADE_TOKEN_FILE", "BLADE_TOKEN"):
        if os.environ.get(variable):
            click.echo(f"{variable} is set, and goes before this profile: unset it.", err=True)
    if session.json:
        print_json({"profile": profile.name, "server": server, "principal": me.principal, "file": str(file)})
    else:
        click.echo(f"Signed in to {server} as {me.principal}; the token is in the profile {profile.name} ({file}).")


@click.command(cls=BladeCommand)
@pass_session
def logout(session: Session) -> None:
    """Forget the token of a server.

    Its profile is removed. The token itself stays good until somebody revokes it; one of an identity provider, until it
    ends.
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
        ends = "it ends" if known and known.renewal else "an ADMIN revokes it: `blade token revoke ID`"
        click.echo(f"The profile {name} is gone. Its token is good until {ends}.")
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
