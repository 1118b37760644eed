"""Who sent a request, as far as HTTP tells: an address, which a proxy may say, and the cookie of a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from blade_server.core.access.sessions import Browser
from blade_server.model.policy import WebPolicy

Address: TypeAlias = IPv4Address | IPv6Address

COOKIE = "blade_session"
SECURE_COOKIE = "__Host-blade_session"
"""Over TLS. Browsers let no other host and no page without TLS set a cookie whose name begins so."""
_MAX_SESSION_CHARS = 100


@dataclass(frozen=True, kw_only=True)
class Sender:
    """`peer` as in `127.0.0.1:41234`, or the address alone where a proxy said it. `secure`: the browser speaks TLS.

    `session`: the id in the cookie, empty if there is none.
    """

    peer: str
    address: str
    secure: bool
    session: str = field(default="", repr=False)

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return SECURE_COOKIE if self.secure else COOKIE

    @property
    def neighbourhood(self) -> str:
        """What one stranger has at his disposal: an address, or a whole network of IPv6."""
        address = _parsed(self.address)
        return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else self.address

    @property
    def browser(self) -> Browser:
        """As one that signs in or out."""
        return Browser(peer=self.peer, neighbourhood=self.neighbourhood, session=self.session)


class Senders:
    """Reads it off requests.

    Args:
        policy: whose word counts.
        sign_in: whether sessions count; a cookie that another server of this machine has set is none of ours.
    """

    def __init__(self, policy: WebPolicy, *, sign_in: bool) -> None:
        self._proxies = policy.trusted_proxies
        self._sign_in = sign_in

    def of(self, scope: Scope, headers: Headers) -> Sender:
        """Who sent it."""
        host, port = scope.get("client") or ("unknown", 0)
        direct = _parsed(host)
        proxied = direct is not None and self._is_proxy(direct)
        address = str(self._first_stranger(direct, headers)) if proxied and direct is not None else host
        forwarded = headers.getlist("x-forwarded-proto") if proxied else []
        secure = scope["scheme"] == "https" or (bool(forwarded) and _last(forwarded).lower() == "https")
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        name = SECURE_COOKIE if secure else COOKIE
        session = cookie_parser(headers.get("cookie", "")).get(name, "") if self._sign_in else ""
        return Sender(
            peer=address if proxied else peer,
            address=address,
            secure=secure,
            session=session if len(session) <= _MAX_SESSION_CHARS and session.isascii() else "",
        )

    def _first_stranger(self, address: Address, headers: Headers) -> Address:
        """The nearest address that is no proxy of ours. What stands before it in the header, anybody can write."""
        hops = [hop.strip() for line in headers.getlist("x-forwarded-for") for hop in line.split(",")]
        while hops and self._is_proxy(address):
            said = _parsed(hops.pop())
            if said is None:
                break
            address = said
        return address

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _last(values: list[str]) -> str:
    return values[-1].rpartition(",")[2].strip()
