"""`blade export` and `blade schema`: what a server has as files, and what files may say."""

from __future__ import annotations

import click

from blade_client.cli.session import BladeCommand, Session, pass_session
from blade_client.cli.whole_file import whole_file

_KINDS = ("notification", "destination", "source", "sync")


@click.command(cls=BladeCommand)
@click.argument("wanted", nargs=-1, metavar="[KIND[/NAME]]...")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write there, whole or not at all.")
@pass_session
def export(session: Session, wanted: tuple[str, ...], output: str | None) -> None:
    """Write what the server has as documents for `blade apply`: all of it, kinds, or single things.

    Secrets are not in it: the server has references alone. With --json it is a list.
    """
    from blade_client.as_code.export import as_yaml, document_of, stored_things
    from blade_client.cli.output import print_json

    for each in wanted:
        if each.partition("/")[0] not in _KINDS:
            raise click.UsageError(f"{each!r} is not of the form KIND or KIND/NAME; kinds are {', '.join(_KINDS)}.")
    with session.client() as blade:
        things = [
            (kind, stored)
            for kind, stored in stored_things(blade)
            if not wanted or kind.name in wanted or f"{kind.name}/{stored.name}" in wanted
        ]
    found = {name for kind, stored in things for name in (kind.name, f"{kind.name}/{stored.name}")}
    for each in wanted:
        if "/" in each and each not in found:
            raise click.UsageError(f"The server has no {each}.")
    documents = [document_of(kind, stored) for kind, stored in things]
    if session.json:
        print_json({"documents": documents})
        return
    text = as_yaml(documents) if documents else ""
    if output is None:
        click.echo(text, nl=False)
        return
    with whole_file(output) as file:
        file.write(text.encode("utf-8"))
    click.echo(f"Wrote {len(documents):,} documents to {output}.", err=True)


@click.command(cls=BladeCommand)
@pass_session
def schema(session: Session) -> None:
    """Print the JSON schema of the documents of `blade apply`, for editors; asks no server."""
    from blade_client.as_code.schema import schema as made
    from blade_client.cli.output import print_json

    print_json(made())
