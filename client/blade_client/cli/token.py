"""`blade token ...`: tokens, with which programs and people sign in."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from blade_client.cli.grant import ROLES, ceiling_option, on_option
from blade_client.cli.pairs import OneOf
from blade_client.cli.session import BladeGroup, Session, pass_session

_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Lifetime(click.ParamType[timedelta]):
    """`90d`, `12h`, `30m` or `never`, which is a lifetime of nothing."""

    name = "lifetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Refuses anything else."""
        if isinstance(value, timedelta):
            return value
        if value == "never":
            return timedelta(0)
        found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", value, re.ASCII)
        if found is None:
            self.fail(f"{value!r} is no lifetime: write for example 90d, 12h, 30m or never.", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


_output = click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write the token there, for you alone (0600)."
)


@click.group(cls=BladeGroup)
def token() -> None:
    """Give out tokens and take them back."""


@token.command()
@click.argument("principal")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option("--lifetime", type=Lifetime(), metavar="TIME", help="90d, 12h, 30m or never.  [default: 90d]")
@click.option("--role", type=OneOf(ROLES), multiple=True, help="A role that the principal gets with it.")
@on_option
@ceiling_option
@_output
@pass_session
def create(
    session: Session,
    *,
    principal: str,
    description: str,
    lifetime: timedelta | None,
    role: tuple[str, ...],
    on: str,
    ceiling: str,
    output: str | None,
) -> None:
    """Make a token for PRINCIPAL and show it, this once.

    The token alone goes to standard output, so that it can be piped into a file or a vault; all else to standard error.
    """
    from blade.v1.access_pb2 import Grant
    from blade_client.cli.output import message_dict, moment, print_json

    with session.client() as blade:
        made = blade.access.create_token(
            principal,
            description=description,
            lifetime=lifetime,
            grants=[Grant(role=each, scope=on, ceiling=ceiling) for each in role],
        )
    if output is not None:
        _write(output, made.secret)
    kept = made.token
    if session.json:
        shown = message_dict(made)
        print_json(shown if output is None else {"token": shown["token"], "file": output})
        return
    if output is None:
        click.echo(made.secret)
    until = moment(kept.expire_time)
    ends = f"it ends {until} UTC" if until else "it does not end by itself"
    where = "it cannot be shown again" if output is None else f"it is in {output}"
    click.echo(f"Token {kept.token_id} signs in {kept.principal}; {ends}; {where}.", err=True)


@token.command("list")
@click.option("--principal", default="", metavar="NAME", help="Only those of this principal.")
@pass_session
def list_(session: Session, principal: str) -> None:
    """List tokens, those that are no longer good among them."""
    from blade_client.cli.access_forms import show_tokens
    from blade_client.cli.output import message_dict, print_json

    with session.client() as blade:
        found = list(blade.access.list_tokens(principal=principal, page_size=1000))
    if session.json:
        print_json({"tokens": [message_dict(each) for each in found]})
    elif found:
        show_tokens(found)
    else:
        click.echo("There are no tokens. Make one with `blade token create`.", err=True)


@token.command()
@click.argument("token_id")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the audit log.")
@pass_session
def revoke(session: Session, token_id: str, reason: str) -> None:
    """Make a token useless for ever, on every server within 5 seconds."""
    from blade_client.cli.output import print_json

    with session.client() as blade:
        revoked = blade.access.revoke_token(token_id, reason)
    if session.json:
        print_json(revoked)
    else:
        click.echo(f"Token {revoked.token_id} of {revoked.principal} was revoked.")


@token.command()
@_output
@pass_session
def generate(session: Session, output: str | None) -> None:
    """Make up a token for BLADE_ADMIN_TOKEN_FILE; no server knows it before it is started with it."""
    from blade_client.cli.output import print_json

    made = new_token()
    if output is not None:
        _write(output, made)
        made = ""
    if session.json:
        print_json({"secret": made} if made else {"file": output})
    elif made:
        click.echo(made)


def new_token() -> str:
    """A token of the form that servers take: `blade_ID_SECRET`, 32 random bytes in it."""
    token_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))
    return f"blade_{token_id}_{secrets.token_urlsafe(32)}"


def _write(file: str, made: str) -> None:
    from blade_client.private_file import write_private

    try:
        write_private(Path(file), made + "\n")
    except OSError as wrong:
        if made:
            click.echo(made)  # it would be lost
        raise click.FileError(file, wrong.strerror) from wrong
