"""`blade auth ...`: what other programs need to sign in as this one does."""

from __future__ import annotations

import click

from blade_client.cli.session import BladeGroup, Session, pass_session


@click.group(cls=BladeGroup)
def auth() -> None:
    """Sign in with other programs."""


@auth.command()
@pass_session
def header(session: Session) -> None:
    """Print the header line that signs in: `blade auth header | curl -H @- URL`.

    So the token stands on no command line, where others on this machine could read it.
    """
    from blade_client.cli.output import print_json
    from blade_client.errors import NotSignedIn

    with session.client() as blade:
        value = blade.authorization()
    if not value:
        raise NotSignedIn(f"There is no token for {blade.target}.")
    if session.json:
        print_json({"authorization": value})
    else:
        click.echo(f"authorization: {value}")
