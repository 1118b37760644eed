"""Signing in from a browser: the authorization code flow, with PKCE (RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

from blade_server.errors import Unauthenticated, Unavailable
from blade_server.model.policy import OidcClient, OidcPolicy
from blade_server.oidc.discovery import Discovered
from blade_server.oidc.fetch import FetchError, post
from blade_server.oidc.identity import Identity
from blade_server.oidc.keys import Keys
from blade_server.oidc.tokens import Tokens

log = logging.getLogger(__name__)

_MAX_WORDS = 200
_IN_WORDS = {
    "access_denied": "you were not let in there, or said no",
    "invalid_grant": "this sign-in was finished already, or begun too long ago",
    "invalid_client": "it does not take the client id or secret of this server",
    "invalid_scope": "it does not give this server the scopes that it asks for",
    "login_required": "you are not signed in there",
    "temporarily_unavailable": "it is too busy just now",
}


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A sign-in under way, kept by the browser that began it and known to nobody else but the provider."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """With what the provider has sent a browser back; what it did not say is empty."""

    state: str = field(repr=False)
    code: str = field(default="", repr=False)
    issuer: str = ""
    error: str = ""
    description: str = ""


class CodeFlow:
    """Thread-safe. Both methods raise Unavailable while the provider does not answer."""

    def __init__(self, policy: OidcPolicy, client: OidcClient, keys: Keys, tokens: Tokens) -> None:
        self._policy = policy
        self._client = client
        self._keys = keys
        self._tokens = tokens

    def begin(self) -> tuple[str, Begun]:
        """Where to send the browser, and what it has to keep. Asks the provider only if it has never answered."""
        begun = Begun(
            state=secrets.token_urlsafe(32), nonce=secrets.token_urlsafe(32), verifier=secrets.token_urlsafe(48)
        )
        challenge = hashlib.sha256(begun.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_uri,
            "scope": " ".join(self._client.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        try:
            at = self._keys.discovered().url("authorization_endpoint")
        except FetchError as exc:
            raise self._away(exc) from exc
        return f"{at}{'&' if '?' in at else '?'}{urlencode(query)}", begun

    def finish(self, answer: Answer, begun: Begun) -> Identity:
        """Who has signed in there. Blocks some seconds at most.

        Raises Unauthenticated, in words for the one who signs in.
        """
        if not hmac.compare_digest(answer.state.encode(), begun.state.encode()):
            raise Unauthenticated("this answer belongs to no sign-in of this browser (state); begin again")
        discovered = self._keys.discovered()
        self._check_issuer(answer, discovered)
        if answer.error:
            raise refused(answer.error, answer.description)
        if not answer.code:
            raise Unauthenticated("the identity provider sent neither a code nor an error; begin again")
        given = self._given_for(answer.code, begun.verifier, discovered)
        return self._tokens.signed_in(
            str(given.get("id_token", "")),
            client_id=self._client.client_id,
            nonce=begun.nonce,
            access_token=str(given.get("access_token", "")),
        )

    def _check_issuer(self, answer: Answer, discovered: Discovered) -> None:
        """Another provider may not answer in its place (RFC 9207)."""
        if not answer.issuer and not discovered.names_itself:
            return
        if answer.issuer != self._policy.issuer:
            raise Unauthenticated("this answer is not from the identity provider of this server (iss); begin again")

    def _given_for(self, code: str, verifier: str, discovered: Discovered) -> Mapping[str, Any]:
        client, secret = self._client, self._client.client_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": verifier,
            "client_id": client.client_id,
        }
        headers = {}
        if secret is not None and discovered.takes_basic:
            pair = f"{quote_plus(client.client_id)}:{quote_plus(secret.get_secret_value())}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif secret is not None:
            form["client_secret"] = secret.get_secret_value()
        try:
            status, document = post(discovered.url("token_endpoint"), self._policy.ca_file, form, headers)
        except FetchError as exc:
            raise self._away(exc) from exc
        if status == 200:
            return document
        error = document.get("error")
        if status >= 500 or not isinstance(error, str):
            raise self._away(FetchError(f"its token endpoint answers {status}"))
        if error in ("invalid_client", "unauthorized_client"):
            log.warning("the identity provider does not take BLADE_OIDC_CLIENT_ID and its secret (%s)", error)
        raise refused(error, document.get("error_description"))

    def _away(self, error: FetchError) -> Unavailable:
        log.warning("nobody can sign in at the identity provider: %s", error)
        return Unavailable("the identity provider does not answer as it should; try again later")


def refused(error: str, description: object) -> Unauthenticated:
    """What the provider has against it, in words. They are its own in part: of no form, and maybe of a stranger."""
    said = error if not isinstance(description, str) or not description else f"{error}, {description}"
    printable = "".join(character if character.isprintable() else " " for character in said[:_MAX_WORDS])
    words = _IN_WORDS.get(error)
    told = f"{words} ({printable})" if words else printable
    return Unauthenticated(f"the identity provider refused: {told}", shown="provider")
