"""Addresses as operators write them: what can never work is told from what may be away for a while.

What is wrong with the writing is known at once. That a port speaks TLS and the URL does not say so, or the other way
round, is known by asking it. No text here holds a user or password.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

_USER = re.compile(r"^([a-zA-Z][\w+.-]*:/+|/*).*@", re.DOTALL)
"""With what stands before it, also where the scheme is missing or has one slash."""
_PLACE = re.compile(r"[^:]*://(?:[^/?#]*@)?([^/?#]*)")
_DATABASE = re.compile(r"[^:]*://(?:[^:/?#@]*(?::[^@]*)?@)?([^/?#]*)")
"""Host and port. SQLAlchemy reads a URL so: a password may hold everything but an @."""
_PORTS = {"http": 80, "https": 443}
_ASK_S = 2.0
_LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
_METADATA = ("fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32")
_NEVER = tuple(map(ipaddress.ip_network, (*_LINK_LOCAL, *_METADATA)))
"""Link-local, and the metadata services of clouds that are elsewhere (AWS, Google, Alibaba, Oracle)."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def without_user(url: str) -> str:
    """The URL as it may be shown."""
    return _USER.sub(r"\1***@", url).partition("?")[0]  # libpq takes a password behind it, too


def checked_url(
    name: str, url: str, schemes: Collection[str] = ("http", "https"), *, database: bool = False
) -> SplitResult:
    """The parts of a URL that can work. `database`: it may name several hosts, and without one means this machine.

    Raises ValueError: `name` with the value, and what is wrong.
    """
    try:
        if not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        found = (_DATABASE if database else _PLACE).match(url)
        place = found[1] if found else ""
        if any(c.isspace() or not c.isprintable() for c in place) or url != url.strip():
            raise ValueError("it has a blank or a control character in it")
        if "@" in url.partition("?")[0] and not re.match(r"[^:]*://[^/?#]*@", url) and not database:
            raise ValueError("in a user or password /, ?, # and @ are written %2F, %3F, %23 and %40")
        for each in place.split(",") if database and place else [place]:
            if each or not database:
                _check_place(each)
        return urlsplit(url)
    except ValueError as exc:
        raise ValueError(f"{name} is {without_user(url)!r}: {exc}") from None  # its context may hold the password


def _check_place(place: str) -> None:
    if "@" in place:
        raise ValueError("an @ in a password is written %40")
    if "," in place:
        raise ValueError("it names several hosts; name one")
    host, _, port = place.rpartition(":") if re.search(r":[^\]]*$", place) else (place, "", "1")
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        shown = f"{port!r}" if re.fullmatch(r"-?[0-9]*", port) else "what stands behind the colon"
        raise ValueError(f"{shown} is not a port, 1 to 65535")
    check_host(host[1:-1] if host.startswith("[") and host.endswith("]") else host)


def check_host(host: str) -> None:
    """Raises ValueError for what is neither a name that DNS can have nor an address."""
    if not host:
        raise ValueError("it names no host")
    try:
        if ":" in host:
            ipaddress.IPv6Address(host)
        elif re.fullmatch(r"[\d.]+", host):
            socket.inet_aton(host)
        else:
            labels = host.removesuffix(".").encode("idna").split(b".")
            if not all(re.fullmatch(rb"[\w-]{1,63}", label) for label in labels) or len(host) > 253:
                raise ValueError
    except (ValueError, OSError):  # UnicodeError is a ValueError
        raise ValueError(f"{host!r} is no host name or address") from None


def is_never(address: str) -> bool:
    """Whether an address is one that nobody outside the machine is at: link-local, or where clouds tell secrets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        found = inner or found
    return any(found in network for network in _NEVER)


def never_among(host: str) -> str:
    """The first address of a host for which `is_never`; "" if there is none, or the name is not known here."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ""
    return next((str(address[4][0]) for address in found if is_never(str(address[4][0]))), "")


def is_loopback(name: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def proxy_for(scheme: str, host: str) -> SplitResult | None:
    """The proxy of this environment for a host; None: it is reached directly. Raises as `checked_proxy`."""
    proxy = getproxies().get(scheme)
    return checked_proxy(proxy) if proxy and not proxy_bypass(host) else None


def checked_proxy(proxy: str) -> SplitResult:
    """The parts of a proxy's URL. Raises ValueError for one that nobody here can speak with, as SOCKS is."""
    named = (name for name, value in os.environ.items() if name.lower().endswith("_proxy") and value and value in proxy)
    return checked_url(next(named, "the proxy"), proxy if "://" in proxy else f"http://{proxy}")


def speaks_otherwise(url: str) -> str:
    """What is wrong if a port speaks TLS and its URL says http://, or the other way round; empty if nothing is.

    Asks the port, which takes a few seconds at most: for a URL, reached without a proxy, that gave no good answer.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    try:
        address = (host, parts.port or _PORTS[parts.scheme])
        if never_among(host):
            return ""
        # First, because many servers answer plain HTTP at their port for TLS, if only to say that it is one.
        if _speaks_tls(address):
            return "" if secure else "speaks TLS there: write https://"
        if secure and _speaks_http(address):
            return "speaks no TLS there: write http://, or name its port with TLS"
    except (OSError, ValueError):
        pass
    return ""


def _speaks_tls(address: tuple[str, int]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, timeout=_ASK_S) as connection:
        try:
            context.wrap_socket(connection).close()
        except ssl.SSLError as exc:
            return "ALERT" in (exc.reason or "")  # it refuses this handshake, in TLS
        except OSError:  # it hangs up on what it does not understand
            return False
    return True


def _speaks_http(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=_ASK_S) as connection:
        connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        return connection.recv(5) == b"HTTP/"
