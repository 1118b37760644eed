"""Tokens, grants and callers in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from blade.v1.access_pb2 import Grant, Role
from blade.v1.access_service_pb2 import Token, WhoAmIResponse
from blade_client.cli.output import moment, print_pairs, print_table

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

OFF = "off"
"""The kind of everybody where authentication is off."""


def show_me(me: WhoAmIResponse) -> None:
    """Prints who the caller is and what he may do."""
    if me.kind == OFF:
        click.echo("Nobody signs in at this server (BLADE_AUTH=off): whoever reaches it may do everything.")
        return
    print_pairs(
        [
            ("Signed in as", me.principal),
            ("By", me.kind),
            ("Groups", ", ".join(me.groups)),
            ("Until (UTC)", moment(me.expire_time)),
        ]
    )
    if me.grants:
        show_grants(me.grants)
    else:
        click.echo("No grants: an ADMIN can make one with `blade grant create`.")


def show_grants(grants: Sequence[Grant]) -> None:
    """Prints grants as a table; those that an operator fixed have no id."""
    print_table(
        ["GRANT", "ROLE", "ON", "UP TO", "FOR", "MADE (UTC)", "BY"],
        [
            [
                grant.grant_id or "-",
                role_name(grant.role),
                grant.scope,
                grant.ceiling,
                f"group {grant.group}" if grant.group else grant.principal,
                moment(grant.create_time),
                grant.created_by,
            ]
            for grant in grants
        ],
    )


def show_tokens(tokens: Sequence[Token]) -> None:
    """Prints what is kept of tokens as a table."""
    print_table(
        ["TOKEN", "FOR", "STATE", "EXPIRES (UTC)", "LAST USE (UTC)", "MADE (UTC)", "BY", "WHAT FOR"],
        [
            [
                token.token_id,
                token.principal,
                token_state(token),
                moment(token.expire_time) or "never",
                moment(token.last_use_time) or "-",
                moment(token.create_time),
                token.created_by,
                token.description,
            ]
            for token in tokens
        ],
    )


def token_state(token: Token) -> str:
    """`good`, `over` or `revoked`."""
    if token.HasField("revoke_time"):
        return "revoked"
    return "over" if token.HasField("expire_time") and _is_past(token.expire_time) else "good"


def _is_past(time: Timestamp) -> bool:
    return time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)


def role_name(role: int) -> str:
    """The role; a number if this client is older than the server."""
    return Role.Name(role) if role in Role.values() else str(role)
