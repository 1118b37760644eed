"""From a source's config and the server's own warehouse to a warehouse and the credentials for it.

Two rules keep secrets in: a reference reads only what is meant to be referred to, and the server's own credentials go
to the server's own host and nowhere else.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import SecretStr

from blade_server.addresses import checked_url
from blade_server.errors import Invalid
from blade_server.model import SourceConfig
from blade_server.model.policy import WarehousePolicy
from blade_server.warehouse import Target

MAX_SECRET_BYTES = 64 * 1024

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
    token = _secret(policy, config.credentials) if config.credentials else None
    if host != own:
        _check_foreign(policy, host, token)
    return Target(
        host=host,
        http_path=_http_path(policy, config, foreign=host != own),
        token=token or (None if host != own else policy.token),
        client_id="" if token or host != own else policy.client_id,
        client_secret=None if token or host != own else policy.client_secret,
        ca_file=policy.ca_file,
        timeout_s=policy.timeout_s,
    )


def _normalized(host: str) -> str:
    return host.strip().lower().removeprefix("https://").rstrip("/")


def _check_foreign(policy: WarehousePolicy, host: str, token: SecretStr | None) -> None:
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
    if token is None:
        raise Invalid.field(
            _CREDENTIALS_FIELD,
            f"must be set for another host than the server's own: the server's are not sent to {host!r}",
        )
    own = (policy.token, policy.client_secret)
    if any(secret is not None and secret.get_secret_value() == token.get_secret_value() for secret in own):
        raise Invalid.field(
            _CREDENTIALS_FIELD, f"leads to the server's own credentials, which are not sent to {host!r}"
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


def _secret(policy: WarehousePolicy, reference: str) -> SecretStr:
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        return _from_environment(name)
    if kind == "file" and name:
        return _from_file(policy.secret_dir, name)
    # The value itself is not shown: whoever did not write a reference may have pasted the token.
    raise Invalid.field(_CREDENTIALS_FIELD, "must be a reference, `env:NAME` or `file:PATH`, never the secret itself")


def _from_environment(name: str) -> SecretStr:
    if not _ENV_NAME.fullmatch(name):
        raise Invalid.field(
            _CREDENTIALS_FIELD, "may name only environment variables that begin with DATABRICKS_ or BLADE_SECRET_"
        )
    value = os.environ.get(name, "").strip()
    if not value:
        raise Invalid.field(_CREDENTIALS_FIELD, f"the environment variable {name} is not set on the server")
    return _printable(value)


def _from_file(secret_dir: Path | None, name: str) -> SecretStr:
    if secret_dir is None:
        raise Invalid.field(_CREDENTIALS_FIELD, "`file:` needs BLADE_SECRET_DIR to be set on the server")
    try:
        root = secret_dir.resolve(strict=True)
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError) as exc:
        raise Invalid.field(_CREDENTIALS_FIELD, "the file cannot be read by the server") from exc
    if not path.is_relative_to(root):
        raise Invalid.field(_CREDENTIALS_FIELD, "the file must be below the server's BLADE_SECRET_DIR")
    try:
        if not path.is_file() or path.stat().st_size > MAX_SECRET_BYTES:
            raise OSError("no file of a reasonable size")
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:
        raise Invalid.field(_CREDENTIALS_FIELD, f"the file {name!r} cannot be read by the server") from exc
    if not value:
        raise Invalid.field(_CREDENTIALS_FIELD, f"the file {name!r} is empty")
    return _printable(value)


def _printable(value: str) -> SecretStr:
    if not (value.isascii() and value.isprintable()):
        raise Invalid.field(
            _CREDENTIALS_FIELD, "leads to something that cannot be a token: it must be one line of ASCII"
        )
    return SecretStr(value)
