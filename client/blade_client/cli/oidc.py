"""Signing in at a server's identity provider from the command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from blade_client.cli.session import Session

if TYPE_CHECKING:
    from blade.v1.access_service_pb2 import IdentityProvider
    from blade_client.device_flow import Prompt
    from blade_client.profiles import Renewal


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was said on the command line, and goes before what the server says."""

    issuer: str | None
    client_id: str | None
    scopes: tuple[str, ...]
    audience: str | None


def sign_in(session: Session, server: str, wanted: Wanted) -> tuple[str, Renewal]:
    """A token for the server, and how it is renewed. Tells on standard error what to do in a browser.

    Raises ValueError if it is not known where or as what to sign in, and what `device_flow.sign_in` raises.
    """
    from blade_client.device_flow import DeviceClient
    from blade_client.device_flow import sign_in as sign_in_by_device
    from blade_client.profiles import Renewal
    from blade_client.provider import Provider

    # Whether a token may travel to that server is found out before somebody has signed in for one.
    session.client(target=server, token="any", profile="").close()  # noqa: S106 - no password
    said = _said_by(session, server)
    issuer, client_id = wanted.issuer or said.issuer, wanted.client_id or said.client_id
    if wanted.issuer and wanted.issuer != said.issuer and not wanted.client_id:
        raise ValueError(f"Of {wanted.issuer} the server says nothing, so name the client there with --client-id ID.")
    if not issuer:
        raise ValueError(f"{server} names no identity provider: name one with --issuer URL and --client-id ID.")
    if not client_id:
        raise ValueError(
            f"{server} names no client of {issuer} for commands (its BLADE_OIDC_CLI_CLIENT_ID): name one with "
            "--client-id ID, or sign in with a token."
        )
    client = DeviceClient(
        client_id=client_id,
        scopes=wanted.scopes or tuple(said.scopes) or ("openid",),
        audience=wanted.audience or said.audience,
    )
    given = sign_in_by_device(Provider(issuer), client, _show)
    renewal = Renewal(issuer=issuer, client_id=client_id, audience=client.audience, refresh_token=given.refresh_token)
    return given.token, renewal


def _said_by(session: Session, server: str) -> IdentityProvider:
    with session.client(target=server, token="", profile="") as blade:
        return blade.access.sign_in_options().provider


def _show(prompt: Prompt) -> None:
    from blade_client.cli.output import visible

    minutes = max(1, round(prompt.lasts_s / 60))
    lines = [f"Open {prompt.url} in a browser, on any device, and enter the code {prompt.code} there."]
    if prompt.whole_url:
        lines.append(f"Or open {prompt.whole_url} and compare the code.")
    lines.append(f"It is good for {minutes} min; waiting.")
    for line in lines:
        click.echo(visible(line), err=True)
    sys.stderr.flush()
