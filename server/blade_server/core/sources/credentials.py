"""From a source's config and the server's own warehouse to a warehouse and the credentials for it.

Three rules keep secrets in: a reference reads only what is meant to be referred to, what it leads to goes to a host
that it is bound to, and the server's own credentials go to the server's own host and nowhere else. Whoever configures
sources learns nothing of secrets that are not bound to the host: all that can be wrong with a reference has one answer.
"""

from __future__ import annotations

import re

from pydantic import SecretStr

from blade_server.addresses import checked_url
from blade_server.core.references import is_reference, led_to
from blade_server.errors import Invalid
from blade_server.model import SourceConfig
from blade_server.model.policy import WarehousePolicy
from blade_server.warehouse import Target

_ENV_NAME = re.compile(r"(DATABRICKS_|BLADE_SECRET_)[A-Z0-9_]+")
_WAREHOUSE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_HOST = re.compile(r"(https?://)?[A-Za-z0-9.\-]+(:\d{1,5})?|(https?://)?\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_HOST_FIELD, _CREDENTIALS_FIELD = "source.config.host", "source.config.credentials"


def target(policy: WarehousePolicy, config: SourceConfig) -> Target:
    """The warehouse of a source.

    Raises:
        Invalid: no host, a host that is not allowed, no warehouse, or a reference that is not allowed or leads nowhere.
    """
    own = _normalized(policy.host)
    host = _normalized(config.host) or own
    if not host:
        raise Invalid.field(
            _HOST_FIELD, "is not set and the server has no default; set it, or DATABRICKS_SERVER_HOSTNAME on the server"
        )
    if host != own:
        _check_foreign(policy, host, config)
    token = _secret(policy, host, config.credentials) if config.credentials else None
    if host != own and any(token == secret for secret in (policy.token, policy.client_secret) if secret):
        raise no_secret(host, config.credentials)
    http_path = _http_path(policy, config, foreign=host != own)
    return Target(
        host=host,
        http_path=http_path,
        token=token or (None if host != own else policy.token),
        client_id="" if token or host != own else policy.client_id,
        client_secret=None if token or host != own else policy.client_secret,
        ca_file=policy.ca_file,
        timeout_s=policy.timeout_s,
        result_domains=policy.result_domains,
        own=host == own and http_path == policy.http_path,
    )


def _normalized(host: str) -> str:
    return host.strip().lower().removeprefix("https://").rstrip("/")


def unbound(policy: WarehousePolicy, config: SourceConfig) -> tuple[str, str] | None:
    """Host and reference of a config whose credentials no setting binds; None: they are bound, or it names none."""
    host = _normalized(config.host) or _normalized(policy.host)
    allowed = {_normalized(policy.host), *map(_normalized, policy.allowed_hosts)}
    free = config.credentials and host in allowed and not _bound(policy, host)
    return (host, config.credentials) if free else None


def no_secret(host: str, reference: str) -> Invalid:
    """The error for a reference that leads to nothing that may be sent to the host, whatever the reason."""
    return Invalid.field(
        _CREDENTIALS_FIELD,
        f"{reference!r} leads to no secret that may be sent to {host!r}; the operator of the server sets it, one line "
        f"of ASCII, and binds it to the host: BLADE_ALLOWED_WAREHOUSE_HOSTS={host}={reference}",
    )


def _bound(policy: WarehousePolicy, host: str) -> frozenset[str]:
    return frozenset().union(*(refs for name, refs in policy.allowed_hosts.items() if _normalized(name) == host))


def _check_foreign(policy: WarehousePolicy, host: str, config: SourceConfig) -> None:
    try:
        checked_url("the host", host if "://" in host else f"https://{host}")
    except ValueError as exc:
        raise Invalid.field(_HOST_FIELD, str(exc)) from exc
    if not _HOST.fullmatch(host):
        raise Invalid.field(_HOST_FIELD, f"{host!r} is not a host name, with `:port` if need be")
    if host not in {_normalized(allowed) for allowed in policy.allowed_hosts}:
        raise Invalid.field(
            _HOST_FIELD, f"{host!r} is not allowed; its operator can add it to BLADE_ALLOWED_WAREHOUSE_HOSTS"
        )
    if not config.credentials:
        raise Invalid.field(
            _CREDENTIALS_FIELD,
            f"must be set for another host than the server's own: the server's are not sent to {host!r}",
        )


def _http_path(policy: WarehousePolicy, config: SourceConfig, *, foreign: bool) -> str:
    if config.warehouse_id:
        if not _WAREHOUSE_ID.fullmatch(config.warehouse_id):
            raise Invalid.field(
                "source.config.warehouse_id", f"{config.warehouse_id!r} is not a warehouse id like 'f3d0a1b2c4e56789'"
            )
        return f"/sql/1.0/warehouses/{config.warehouse_id}"
    if foreign or not policy.http_path:
        why = "the server's default is on another host" if foreign else "the server has no default DATABRICKS_HTTP_PATH"
        raise Invalid.field("source.config.warehouse_id", f"must be set: {why}")
    return policy.http_path


def _secret(policy: WarehousePolicy, host: str, reference: str) -> SecretStr:
    if not is_reference(reference):
        # The value itself is not shown: whoever did not write a reference may have pasted the token.
        raise Invalid.field(
            _CREDENTIALS_FIELD, "must be a reference, `env:NAME` or `file:PATH`, never the secret itself"
        )
    bound = _bound(policy, host)
    value = ""
    if not bound or reference in bound:
        value = led_to(reference, names=_ENV_NAME, secret_dir=policy.secret_dir)
    if not value:
        raise no_secret(host, reference)
    return SecretStr(value)
