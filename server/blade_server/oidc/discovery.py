"""What the provider says of itself: where it is asked for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blade_server.oidc.fetch import FetchError, checked, fetch


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """Its discovery document, of that issuer for sure."""

    document: Mapping[str, Any]

    def url(self, name: str) -> str:
        """One of its addresses, as `token_endpoint`. Raises FetchError if it gives none, or one without TLS."""
        return checked(self.document.get(name), name)

    @property
    def names_itself(self) -> bool:
        """Whether it says who it is when it sends a browser back (RFC 9207)."""
        return self.document.get("authorization_response_iss_parameter_supported") is True

    @property
    def takes_basic(self) -> bool:
        """Whether a client's secret may stand in the header `Authorization`, and need not stand in the form."""
        methods = self.document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return isinstance(methods, list) and "client_secret_basic" in methods


def discover(issuer: str, ca_file: Path | None) -> Discovered:
    """Asks the provider. Blocks and raises as `fetch`; FetchError also if it says that it is somebody else."""
    at = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    document = fetch(at, ca_file)
    said = document.get("issuer")
    if said != issuer:
        raise FetchError(f"{at} says that it is {said!r:.200}, and BLADE_OIDC_ISSUER is {issuer!r}")
    return Discovered(document=document)
