"""Grants, tokens, and the identity provider."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1 import access_pb2, access_service_pb2
from blade_server.errors import Invalid
from blade_server.model.access import Grant, Role, Token
from blade_server.model.policy import OIDC_PATH, OidcPolicy


def set_time(field: Timestamp, time: datetime | None) -> None:
    """Sets a field of a message, or leaves it unset."""
    if time is not None:
        field.FromDatetime(time)


def grant_message(grant: Grant) -> access_pb2.Grant:
    """A grant."""
    message = access_pb2.Grant(
        grant_id=grant.grant_id,
        principal=grant.principal,
        group=grant.group,
        role=access_pb2.Role.Name(grant.role),
        scope=grant.scope,
        ceiling=grant.ceiling,
        created_by=grant.created_by,
    )
    set_time(message.create_time, grant.create_time)
    return message


def grant_from(message: access_pb2.Grant, field: str) -> Grant:
    """What a caller says of a grant that stands in a field. Raises Invalid for a role that there is not."""
    try:
        role = Role(message.role)
    except ValueError as exc:
        allowed = ", ".join(role.name for role in Role)
        raise Invalid.field(f"{field}.role", f"{message.role} is not a role; there are {allowed}") from exc
    return Grant(
        role=role,
        scope=message.scope,
        principal=message.principal,
        group=message.group,
        ceiling=message.ceiling,
    )


def token_message(token: Token) -> access_service_pb2.Token:
    """What is kept of a token."""
    message = access_service_pb2.Token(
        token_id=token.token_id,
        principal=token.principal,
        description=token.description,
        created_by=token.created_by,
    )
    set_time(message.create_time, token.create_time)
    set_time(message.expire_time, token.expire_time)
    set_time(message.last_use_time, token.last_use_time)
    set_time(message.revoke_time, token.revoke_time)
    return message


def provider_message(oidc: OidcPolicy, page_url: str) -> access_service_pb2.IdentityProvider:
    """The identity provider as strangers may know it; `page_url` is where the page is."""
    return access_service_pb2.IdentityProvider(
        issuer=oidc.issuer,
        name=oidc.name,
        page_url=page_url + OIDC_PATH if oidc.page else "",
        client_id=oidc.cli.client_id if oidc.cli else "",
        scopes=oidc.cli.scopes if oidc.cli else (),
        audience=oidc.audience,
    )
