"""`blade open`: the page, in a browser that is signed in as this command is."""

from __future__ import annotations

from html import escape
from pathlib import Path

import click

from blade_client.cli.failures import PRECONDITION
from blade_client.cli.session import BladeCommand, Session, pass_session


@click.command(cls=BladeCommand)
@click.option("--print", "print_only", is_flag=True, help="Print the address, and open nothing.")
@pass_session
def open(session: Session, *, print_only: bool) -> None:  # noqa: A001 - the command's name
    """Open the page in a browser, signed in as you are here.

    The address is good once, and for a minute: no token stands in it.
    """
    import webbrowser

    from blade_client.cli.output import print_json

    with session.client() as blade:
        made = blade.access.create_sign_in_code()
        page = made.page_url or _page_at(blade.target, made.http_port, secure=made.http_tls)
    url = f"{page}/#/sign-in/{made.code}" if made.code else f"{page}/"
    if print_only:
        if session.json:
            print_json({"url": url})
        else:
            click.echo(url)
        return
    if not webbrowser.open(_leading_to(url).as_uri()):
        click.echo("There is no browser here. `blade open --print` prints the address for another one.", err=True)
        click.get_current_context().exit(PRECONDITION)
    if session.json:
        print_json({"page": page})
    else:
        click.echo(f"Opened {page} in the browser.")


def _page_at(target: str, port: int, *, secure: bool) -> str:
    """The page's address on the host that was called. Raises Unavailable; UsageError if a browser cannot go there."""
    from blade_client.errors import Unavailable

    host, _, _ = target.rpartition(":")
    if not port:
        raise Unavailable("The page of this server is not open yet; try again.")
    if not host or "/" in host or (":" in host and not host.startswith("[")):
        raise click.UsageError(f"Of {target} no address of a page follows: set BLADE_PUBLIC_URL of the server.")
    return f"{'https' if secure else 'http'}://{host}:{port}"


def _leading_to(url: str) -> Path:
    """A file that leads there, which only its owner can read: a command line, a browser's too, anybody can."""
    from blade_client.folders import data_folder
    from blade_client.private_file import write_private

    file = data_folder() / "open.html"
    meta = f'<meta http-equiv="refresh" content="0; url={escape(url)}">'
    write_private(file, f'<!doctype html><title>BLADE</title>{meta}<a href="{escape(url)}">BLADE</a>\n')
    return file
