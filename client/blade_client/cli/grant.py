"""`blade grant ...`: who may do what."""

from __future__ import annotations

import click

from blade_client.cli.pairs import OneOf
from blade_client.cli.session import BladeGroup, Session, pass_session

ROLES = ["VIEWER", "READER", "OPERATOR", "EDITOR", "ADMIN", "AUDITOR"]
on_option = click.option(
    "--on", default="*", show_default=True, metavar="SCOPE", help="source:NAME, data_type:NAME, or * for everything."
)
ceiling_option = click.option(
    "--ceiling",
    default="",
    metavar="CLASSIFICATION",
    help="Rows above it are not there; for READER and OPERATOR.  [default: none]",
)
_reason = click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")


@click.group(cls=BladeGroup)
def grant() -> None:
    """Let somebody do something, and no longer.

    VIEWER sees sources and jobs, READER rows, OPERATOR runs jobs, EDITOR changes sources, ADMIN gives access; each may
    do what those before it may. AUDITOR reads the audit log and nothing else.
    """


@grant.command()
@click.argument("role", type=OneOf(ROLES))
@click.option("--principal", default="", metavar="NAME", help="Whom it is for; or")
@click.option("--group", default="", metavar="NAME", help="the group, as the identity provider names it.")
@on_option
@ceiling_option
@_reason
@pass_session
def create(session: Session, *, role: str, principal: str, group: str, on: str, ceiling: str, reason: str) -> None:
    """Grant ROLE to a principal or a group. A grant that is there already stays as it is.

    Grants only add: a ceiling takes nothing away from another grant without one, or with a higher one.
    """
    from blade_client.cli.access_forms import show_grants
    from blade_client.cli.output import print_json

    if bool(principal) == bool(group):
        raise click.UsageError("Say whom it is for: --principal NAME or --group NAME.")
    with session.client() as blade:
        made = blade.access.create_grant(
            role, principal=principal, group=group, scope=on, ceiling=ceiling, reason=reason
        )
    if session.json:
        print_json(made)
    else:
        show_grants([made])


@grant.command("list")
@click.option("--principal", default="", metavar="NAME", help="Only those of this principal.")
@click.option("--group", default="", metavar="NAME", help="Only those of this group.")
@pass_session
def list_(session: Session, principal: str, group: str) -> None:
    """List grants."""
    from blade_client.cli.access_forms import show_grants
    from blade_client.cli.output import message_dict, print_json

    with session.client() as blade:
        found = list(blade.access.list_grants(principal=principal, group=group, page_size=1000))
    if session.json:
        print_json({"grants": [message_dict(each) for each in found]})
    elif found:
        show_grants(found)
    else:
        click.echo("There are no grants. Make one with `blade grant create`.", err=True)


@grant.command()
@click.argument("grant_id")
@_reason
@pass_session
def revoke(session: Session, grant_id: str, reason: str) -> None:
    """Take a grant away, on every server within 5 seconds."""
    from blade_client.cli.output import print_json

    with session.client() as blade:
        blade.access.revoke_grant(grant_id, reason)
    if session.json:
        print_json({})
    else:
        click.echo(f"Grant {grant_id} is gone.")
