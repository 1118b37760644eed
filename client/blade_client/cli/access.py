"""`blade access check`: whether a call would be let through."""

from __future__ import annotations

from difflib import get_close_matches

import click

from blade_client.cli.completion import source_names
from blade_client.cli.failures import NOT_ALLOWED
from blade_client.cli.session import BladeGroup, Session, pass_session


@click.group(cls=BladeGroup)
def access() -> None:
    """Find out what somebody may do."""


@access.command()
@click.argument("method")
@click.option("--source", default="", shell_complete=source_names, metavar="NAME", help="The source it is about.")
@click.option("--principal", default="", metavar="NAME", help="Whose call; another's needs ADMIN.  [default: yours]")
@click.option("--group", multiple=True, metavar="NAME", help="A group that the principal is in.")
@pass_session
def check(session: Session, *, method: str, source: str, principal: str, group: tuple[str, ...]) -> None:
    """Say whether a call of METHOD, for example StartQueryJob, would be let through.

    Ends with code 10 if it would not.
    """
    from blade_client.cli.access_forms import show_grants
    from blade_client.cli.output import print_json, visible

    name = _full_name(method)
    with session.client() as blade:
        checked = blade.access.check(name, source=source, principal=principal, groups=group)
    if session.json:
        print_json(checked)
    elif checked.allowed:
        click.echo(f"{name} is allowed.")
        if checked.grants:
            show_grants(checked.grants)
    else:
        click.echo(f"{name} is refused: {visible(checked.refusal)}")
    if not checked.allowed:
        click.get_current_context().exit(NOT_ALLOWED)


def _full_name(method: str) -> str:
    """The full name of a method that is named by its last part; a full one as it is."""
    if "/" in method:
        return method
    from blade_client.contract import SERVICES

    known = {each.name: f"{service.full_name}/{each.name}" for service in SERVICES for each in service.methods}
    if method not in known:
        like = get_close_matches(method, known, n=1)
        raise click.UsageError(f"BLADE has no method {method!r}.{f' Did you mean {like[0]}?' if like else ''}")
    return known[method]
