"""Every setting with its value and where that comes from, for people: no secret is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from blade_server.addresses import without_user
from blade_server.app.config_file import Entry
from blade_server.app.misspelt import OF_THE_LOG
from blade_server.settings import Settings, files_of_secrets, variable
from blade_server.storage.embedded.postgres import default_data_dir

_HIDDEN = "***"
_ADDRESSES = ("_url", "_issuer", "_hostname")
_DEFAULTS_OF_THE_LOG = {"BLADE_LOG_LEVEL": "info", "BLADE_LOG_FORMAT": "text"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One setting."""

    name: str
    variable: str
    value: Any
    """As JSON has it; None: it is unset. Of a secret `***`, of a URL all but user, password and query."""
    origin: str
    """`default`, `environment`, `file` or `secret file`."""
    where: str
    """The variable, FILE:LINE, or the secret's file; "" for a default."""

    @property
    def line(self) -> str:
        """As a configuration file would have it; what is unset or hidden is a comment there."""
        written = f"{self.name} = {json.dumps(self.value, ensure_ascii=False)}"
        if self.value is None or _HIDDEN in str(self.value):
            written = f"# {self.name}" + ("" if self.value is None else f" = {self.value}")
        return f"{written:<60}  # {self.origin}{' ' if self.where else ''}{self.where}"


def in_force(settings: Settings, environment: Mapping[str, str], of_file: Mapping[str, Entry]) -> Iterator[Shown]:
    """All settings, in the order of docs/settings.md. `of_file`: what a configuration file added to the environment."""
    by_name = {name.upper(): (name, text) for name, text in environment.items()}
    effective = {
        "http_port": settings.listens_for_http_on,
        "mtls_port": settings.listens_for_mtls_on,
        "admin_port": settings.listens_for_admin_on or 0,
        "data_dir": settings.data_dir or default_data_dir(),
    }
    for name in Settings.model_fields:
        value = effective.get(name, getattr(settings, name))
        origin, where = _origin(variable(name), by_name, of_file)
        secret_file = by_name.get(files_of_secrets().get(name, ""), ("", ""))[1]
        if secret_file:
            origin, where = "secret file", secret_file
        if isinstance(value, str) and name.endswith(_ADDRESSES):
            value = without_user(value)
        yield Shown(name=name, variable=variable(name), value=_shown(value), origin=origin, where=where)
    for name in OF_THE_LOG:
        origin, where = _origin(name, by_name, of_file)
        value = by_name[name][1] if name in by_name else _DEFAULTS_OF_THE_LOG.get(name)
        yield Shown(name=name.removeprefix("BLADE_").lower(), variable=name, value=value, origin=origin, where=where)


def _origin(name: str, by_name: Mapping[str, tuple[str, str]], of_file: Mapping[str, Entry]) -> tuple[str, str]:
    if name in of_file:
        return "file", of_file[name].place
    return ("environment", by_name[name][0]) if name in by_name else ("default", "")


def _shown(value: object) -> Any:
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return without_user(secret) if "://" in secret else _HIDDEN
    if isinstance(value, tuple):
        return list(map(_shown, value))
    if isinstance(value, Path):
        return str(value)
    return without_user(value) if isinstance(value, str) and "://" in value else value
