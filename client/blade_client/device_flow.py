"""Signing in at an identity provider on a device without a browser: the device authorization grant (RFC 8628)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blade_client import errors
from blade_client.jwt_claims import is_for
from blade_client.provider import Provider, words_of

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_INTERVAL_S = 5.0
_LIFE_S = 600.0
_MAX_INTERVAL_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What somebody has to do in a browser, on any device: open `url` and enter `code`; `whole_url` has the code in it.

    `lasts_s`: how long he has for it.
    """

    url: str
    code: str
    whole_url: str
    lasts_s: float


@dataclass(frozen=True, kw_only=True)
class Given:
    """A token for the server, and one for getting the next; "": none."""

    token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class DeviceClient:
    """As what, and for which server, somebody signs in."""

    client_id: str
    scopes: tuple[str, ...]
    audience: str


def sign_in(
    provider: Provider,
    client: DeviceClient,
    show: Callable[[Prompt], object],
    sleep: Callable[[float], object] = time.sleep,
) -> Given:
    """Shows somebody what to do, and waits until he has done it. Blocks for minutes.

    Raises:
        NotSignedIn: He refused, took too long, or the provider does not let him or this client.
        Unavailable: The provider does not answer, or gives no token that is for the server.
    """
    form = {"client_id": client.client_id, "scope": " ".join(client.scopes), "audience": client.audience}
    status, begun = provider.post("device_authorization_endpoint", form)
    if status != 200:
        raise errors.NotSignedIn(f"The identity provider refused: {words_of(begun)}.")
    prompt = _prompt(begun)
    show(prompt)
    deadline_s = time.monotonic() + prompt.lasts_s
    wait_s = min(_number(begun, "interval", _INTERVAL_S), _MAX_INTERVAL_S)
    poll = {"grant_type": _GRANT, "device_code": str(begun.get("device_code", "")), "client_id": client.client_id}
    while True:
        sleep(wait_s)
        if time.monotonic() > deadline_s:
            raise errors.NotSignedIn("Nobody has entered the code in time; begin again.")
        try:
            status, answer = provider.post("token_endpoint", poll)
        except errors.Unavailable:
            wait_s = min(wait_s * 2, _MAX_INTERVAL_S)  # RFC 8628, 3.5
            continue
        if status == 200:
            return given_in(answer, client.audience)
        wait_s = _next_wait_s(answer, wait_s)


def given_in(answer: Mapping[str, Any], audience: str) -> Given:
    """The token of an answer that is for the server: the access token, if one can see that, else the ID token.

    Raises Unavailable if there is none.
    """
    tokens = [token for name in ("access_token", "id_token") if isinstance(token := answer.get(name), str)]
    token = next((token for token in tokens if is_for(token, audience)), None)
    if token is None:
        raise errors.Unavailable(
            f"The identity provider gave no token for this server, one whose aud is {audience!r}: it must give its "
            "access tokens as JWT with that audience, or the server's BLADE_OIDC_AUDIENCE be the client id, which ID "
            "tokens name."
        )
    refresh_token = answer.get("refresh_token")
    return Given(token=token, refresh_token=refresh_token if isinstance(refresh_token, str) else "")


def _prompt(begun: Mapping[str, Any]) -> Prompt:
    url, code = begun.get("verification_uri"), begun.get("user_code")
    whole = begun.get("verification_uri_complete", "")
    if not (isinstance(url, str) and url.startswith(("https://", "http://")) and isinstance(code, str) and code):
        raise errors.Unavailable("The identity provider answers without an address and a code to enter there.")
    whole_url = whole if isinstance(whole, str) and whole.startswith(("https://", "http://")) else ""
    return Prompt(url=url, code=code, whole_url=whole_url, lasts_s=_number(begun, "expires_in", _LIFE_S))


def _number(document: Mapping[str, Any], name: str, default: float) -> float:
    value = document.get(name)
    return float(value) if isinstance(value, (int, float)) and value > 0 else default


def _next_wait_s(answer: Mapping[str, Any], wait_s: float) -> float:
    """How long to wait before the next poll. Raises NotSignedIn if there is to be none."""
    error = answer.get("error")
    if error == "authorization_pending":
        return wait_s
    if error == "slow_down":
        return wait_s + _INTERVAL_S
    if error == "access_denied":
        raise errors.NotSignedIn("The sign-in was refused at the identity provider.")
    if error == "expired_token":
        raise errors.NotSignedIn("Nobody has entered the code in time; begin again.")
    raise errors.NotSignedIn(f"The identity provider refused: {words_of(answer)}.")
