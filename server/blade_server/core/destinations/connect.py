"""From a destination to the client of its catalog.

As for warehouses, a reference reads only what is meant to be referred to, and what it leads to goes to a host that the
operator has bound it to, and nowhere else. All that can be wrong with a reference has one answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult

from pydantic import SecretStr

from blade_server.addresses import checked_url, is_loopback
from blade_server.catalog import Catalog, Origin
from blade_server.core.references import file_below, led_to
from blade_server.errors import Invalid
from blade_server.model.destination import Destination
from blade_server.model.policy import DestinationPolicy

_ENV_NAME = re.compile(r"BLADE_SECRET_[A-Z0-9_]+")
_PORTS = {"http": 80, "https": 443}


def connect(policy: DestinationPolicy, destination: Destination) -> Catalog:
    """A client, which has asked nothing yet. It takes no other catalog than that of `catalog_id`, if that is set.

    Raises Invalid: a host that is not allowed, a reference that leads nowhere, or a URL that can never work.
    """
    parts = _parts(destination.url)
    references = _bound(policy, parts)
    name = f"destinations.{destination.name}"
    origin = Origin(
        url=f"{name}.url",
        token=f"{name}.credentials",
        ca_file=f"{name}.ca_file",
        loopback=is_loopback(parts.hostname or ""),
        catalog_id=destination.catalog_id,
        destination=destination.name,
    )
    try:
        return Catalog(
            destination.url,
            _token(policy, parts, destination.credentials, references),
            _ca_file(policy, destination.ca_file),
            destination.timeout_s or policy.timeout_s,
            policy.connections,
            settle_s=policy.settle_s,
            origin=origin,
        )
    except ValueError as exc:
        raise Invalid.field("destination.url", str(exc)) from exc


def _parts(url: str) -> SplitResult:
    try:
        parts = checked_url("the URL", url)
    except ValueError as exc:
        raise Invalid.field("destination.url", str(exc)) from exc
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Invalid.field(
            "destination.url", "has a user, a query or a fragment; credentials are given by reference, as `credentials`"
        )
    return parts


def _places(parts: SplitResult) -> Iterator[str]:
    """How an operator may have written the host: the port may be left out where it is that of the scheme."""
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = parts.port or _PORTS[parts.scheme]
    yield f"{host}:{port}"
    if port == _PORTS[parts.scheme]:
        yield host


def _bound(policy: DestinationPolicy, parts: SplitResult) -> frozenset[str]:
    """The references that may be sent to a host. Raises Invalid for one that is not allowed."""
    allowed = {host.strip().lower(): references for host, references in policy.allowed_hosts.items()}
    places = [place for place in _places(parts) if place in allowed]
    if not places:
        raise Invalid.field(
            "destination.url",
            f"{parts.netloc!r} is not allowed; the operator of the server can add it to BLADE_ALLOWED_CATALOG_HOSTS",
        )
    return frozenset().union(*(allowed[place] for place in places))


def _token(policy: DestinationPolicy, parts: SplitResult, reference: str, bound: frozenset[str]) -> SecretStr | None:
    if not reference:
        return None
    value = ""
    if reference in bound:
        value = led_to(reference, names=_ENV_NAME, secret_dir=policy.secret_dir)
    if not value:
        raise Invalid.field(
            "destination.credentials",
            f"{reference!r} leads to no secret that may be sent to {parts.netloc!r}; the operator of the server sets "
            f"it, one line of ASCII, and binds it to the host: BLADE_ALLOWED_CATALOG_HOSTS={parts.netloc}={reference}",
        )
    return SecretStr(value)


def _ca_file(policy: DestinationPolicy, reference: str) -> Path | None:
    if not reference:
        return None
    path = file_below(policy.secret_dir, reference.removeprefix("file:"))
    if path is None:
        raise Invalid.field(
            "destination.ca_file", f"{reference!r} leads to no file below the server's BLADE_SECRET_DIR"
        )
    return path
