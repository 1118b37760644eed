"""From a notification to an address and a key.

Three rules keep secrets in: a reference reads only what is meant to be referred to, what it leads to goes to a host
that it is bound to, and nothing goes to a host that the operator has not named. All that can be wrong with a reference
has one answer: whoever sets up notifications learns nothing of what it leads to.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult

from blade_server.addresses import checked_url, is_loopback
from blade_server.core.references import is_reference, led_to
from blade_server.errors import Invalid
from blade_server.model.notification import Notification, NotificationFormat
from blade_server.model.policy import NotifyPolicy

MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
"""Of the key of a signature; see the Standard Webhooks specification."""
_KEY_PREFIX = "whsec_"
_NAMES = re.compile(r"BLADE_SECRET_[A-Z0-9_]+")
_PORTS = {"http": 80, "https": 443}
_URL, _SECRET = "notification.url", "notification.secret"
_SETTING = "BLADE_ALLOWED_WEBHOOK_HOSTS"


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """`key` None: messages are not signed, as the address is the secret."""

    url: SplitResult = field(repr=False)
    key: bytes | None = field(repr=False)


def receiver(policy: NotifyPolicy, notification: Notification) -> Receiver:
    """Where the messages of a notification go. Raises Invalid, naming `notification.url` or `notification.secret`."""
    url = _referred(policy, notification.url) if is_reference(notification.url) else _written(policy, notification.url)
    if notification.format is NotificationFormat.SLACK:
        if not is_reference(notification.url):
            raise Invalid.field(
                _URL, "must be a reference, `env:NAME` or `file:PATH`: Slack's address is itself secret"
            )
        if notification.secret:
            raise Invalid.field(_SECRET, "is not for the format SLACK, which has no signature; leave it empty")
        return Receiver(url=url, key=None)
    return Receiver(url=url, key=_key(policy, _host(url), notification.secret))


def _written(policy: NotifyPolicy, text: str) -> SplitResult:
    try:
        url = checked_url("the address", text)
    except ValueError as exc:
        raise Invalid.field(_URL, str(exc)) from exc
    if url.username or url.password or url.query or url.fragment:
        raise Invalid.field(
            _URL,
            "has a user, a ? or a # in it; what is secret in it is named by a reference, `env:NAME` or `file:PATH`",
        )
    wrong = _wrong(url)
    if wrong:
        raise Invalid.field(_URL, wrong)
    if _host(url) not in policy.allowed_hosts:
        raise Invalid.field(_URL, f"{_host(url)!r} is not allowed; the server's operator can add it to {_SETTING}")
    return url


def _referred(policy: NotifyPolicy, reference: str) -> SplitResult:
    try:
        url = checked_url("the address", led_to(reference, names=_NAMES, secret_dir=policy.secret_dir))
        if not _wrong(url) and not url.username and reference in policy.allowed_hosts.get(_host(url), ()):
            return url
    except ValueError:
        pass
    raise Invalid.field(
        _URL,
        f"{reference!r} leads to no address of a host that it is bound to; the operator of the server sets it, "
        f"https://..., and binds it to the host: {_SETTING}=HOST={reference}",
    )


def _wrong(url: SplitResult) -> str:
    if url.scheme != "https" and not is_loopback(url.hostname or ""):
        return "must begin with https://"
    target = f"{url.path}{url.query}"
    return "" if target.isascii() and target.isprintable() and " " not in target else "has characters that no URL has"


def _host(url: SplitResult) -> str:
    """As the setting has it."""
    host = (url.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return host if url.port in (None, _PORTS[url.scheme]) else f"{host}:{url.port}"


def _key(policy: NotifyPolicy, host: str, reference: str) -> bytes:
    if not is_reference(reference):
        # The value itself is not shown: whoever did not write a reference may have pasted the secret.
        raise Invalid.field(
            _SECRET,
            "is required: a reference, `env:NAME` or `file:PATH`, never the secret itself; with it the receiver knows "
            "who sends",
        )
    bound = reference in policy.allowed_hosts.get(host, ())
    text = led_to(reference, names=_NAMES, secret_dir=policy.secret_dir) if bound else ""
    try:
        key = base64.b64decode(text.removeprefix(_KEY_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(_KEY_PREFIX) or not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise Invalid.field(
            _SECRET,
            f"{reference!r} leads to no secret that may be used for {host!r}; the operator of the server sets it, "
            f"{_KEY_PREFIX} and the base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes, and binds it to the "
            f"host: {_SETTING}={host}={reference}",
        )
    return key
