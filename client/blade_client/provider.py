"""An identity provider (OpenID Connect), asked over HTTPS for its addresses and for tokens."""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from blade_client import errors

_PATIENCE_S = 10.0
_MAX_BYTES = 1 << 20
_MAX_WORDS = 300


class Provider:
    """The provider of an issuer. All methods block, for some seconds at most.

    They raise `errors.Unavailable` if it does not answer as it should, with 500 for one. Nothing is sent to an address
    that is neither HTTPS nor on this machine, and no redirect is followed.
    """

    def __init__(self, issuer: str) -> None:
        """Asks nobody yet. Raises ValueError if that can be no issuer."""
        if not _is_safe(issuer):
            raise ValueError(
                f"The issuer is {issuer!r}: it must begin with https:// (http:// for a provider on this machine)."
            )
        self.issuer = issuer
        self._document: Mapping[str, Any] | None = None

    def endpoint(self, name: str) -> str:
        """One of its addresses, as `token_endpoint`; empty if it has none of that name."""
        if self._document is None:
            at = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            status, document = _asked(at, None)
            if status != 200 or document.get("issuer") != self.issuer:
                said = f"answers {status}" if status != 200 else f"says that it is {document.get('issuer')!r:.200}"
                raise errors.Unavailable(f"The identity provider {self.issuer} is not there: {at} {said}.")
            self._document = document
        url = self._document.get(name, "")
        if url and not (isinstance(url, str) and _is_safe(url)):
            raise errors.Unavailable(f"The identity provider gives {url!r:.200} as its {name}, which has no TLS.")
        return str(url)

    def post(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        """Sends a form to one of its addresses; the HTTP status, and the JSON object that it is answered with."""
        url = self.endpoint(endpoint)
        if not url:
            raise errors.Unavailable(f"The identity provider {self.issuer} has no {endpoint}.")
        status, document = _asked(url, urlencode(form).encode())
        if status >= 500:
            raise errors.Unavailable(f"The identity provider {self.issuer} answers {status}.")
        return status, document


def words_of(document: Mapping[str, Any]) -> str:
    """What the provider has against a request, as it says it: of no form, so cut, and without control characters."""
    error, description = document.get("error"), document.get("error_description")
    said = f"{error}: {description}" if isinstance(description, str) and description else str(error)
    return "".join(character if character.isprintable() else " " for character in said[:_MAX_WORDS])


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.username is not None or not url.isprintable():
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Another address is not the one that was checked."""


def _asked(url: str, form: bytes | None) -> tuple[int, Mapping[str, Any]]:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if url.startswith("http://"):  # on this machine, where no proxy is meant
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, form, {"Accept": "application/json", "User-Agent": "blade"})  # noqa: S310
    try:
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=_PATIENCE_S) as answer:
                status, body = answer.status, answer.read(_MAX_BYTES + 1)
        except urllib.error.HTTPError as refused:
            with refused:
                status, body = refused.code, refused.read(_MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as wrong:  # urllib's and TLS's are OSErrors
        why = getattr(wrong, "reason", None) or wrong
        raise errors.Unavailable(f"The identity provider does not answer at {url}: {why}.") from None
    try:
        document = json.loads(body) if len(body) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise errors.Unavailable(f"The identity provider answers {status} at {url}, and no JSON object.")
    return status, document
