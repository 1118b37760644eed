"""Where the driver may go: to the warehouse, to where its results may lie, and never to link-local addresses.

A warehouse answers large queries with links, and whoever says which warehouse could have them followed to anywhere. So
the driver's pools of connections are these: they look at each URL, follow no redirect, and look at the address that
they have reached before a byte is sent, which no answer of DNS can change any more.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import urllib3
from databricks.sql.auth import thrift_http_client
from databricks.sql.common import unified_http_client
from urllib3.connection import HTTPConnection, HTTPSConnection

from blade_server.addresses import is_never, never_among
from blade_server.errors import Precondition, Reason
from blade_server.warehouse.target import Target

_opening = threading.local()


@contextmanager
def bound(target: Target) -> Iterator[None]:
    """Within it, on this thread, pools are made for the warehouse and its results.

    Raises:
        Precondition: its name leads to an address that nobody may reach.
    """
    if wrong := never_among(target.hostname):
        raise _refused(f"{target} is at {wrong}, a link-local address, where no warehouse may be")
    _opening.target = target
    try:
        yield
    finally:
        _opening.target = None


def checked(connection: socket.socket) -> socket.socket:
    """Pass a connection to an address that may be reached; others are closed. Raises Precondition."""
    address = str(connection.getpeername()[0])
    if is_never(address):
        connection.close()
        raise _refused(f"{address} is a link-local address, where neither a warehouse nor its results may be")
    return connection


def _refused(message: str) -> Precondition:
    return Precondition(message, reason=Reason.WAREHOUSE_UNAVAILABLE)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return checked(super()._new_conn())


class _SecureConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return checked(super()._new_conn())


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class Pools(urllib3.PoolManager):
    """Made within `bound`; for the URLs of its warehouse and of results."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._target: Target | None = getattr(_opening, "target", None)
        self.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> Any:  # type: ignore[override]
        """As that of PoolManager, but for redirects. Raises Precondition."""
        return _open(self._target, super().urlopen, method, url, options)


class ProxiedPools(urllib3.ProxyManager):
    """The same through a proxy, which looks up the names itself."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._target: Target | None = getattr(_opening, "target", None)

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> Any:  # type: ignore[override]
        """As that of ProxyManager, but for redirects. Raises Precondition."""
        return _open(self._target, super().urlopen, method, url, options)


def _open(target: Target | None, urlopen: Any, method: str, url: str, options: dict[str, Any]) -> Any:
    if target is None:  # another user of the driver
        return urlopen(method, url, **options)
    if not _may_open(target, url):
        place = urlsplit(url).netloc.rpartition("@")[2]
        raise _refused(
            f"{target} has its results at {place[:200]!r}, which is not allowed; its operator can add the host to "
            "BLADE_WAREHOUSE_RESULT_DOMAINS"
        )
    answer = urlopen(method, url, redirect=False, **options)
    if answer.get_redirect_location():
        raise _refused(f"{target} has its results where a redirect leads elsewhere, which is not followed")
    return answer


def _may_open(target: Target, url: str) -> bool:
    try:
        asked, own = urlsplit(url), urlsplit(target.base_url)
        place, port = asked.hostname or "", asked.port
    except ValueError:
        return False
    if (asked.scheme, place, port) == (own.scheme, own.hostname, own.port):
        return True
    allowed = any(fnmatchcase(place, domain.lower()) for domain in target.result_domains)
    return allowed and asked.scheme == "https" and port in (None, 443) and not is_never(place)


thrift_http_client.HTTPConnectionPool = _Pool  # type: ignore[attr-defined]
thrift_http_client.HTTPSConnectionPool = _SecurePool  # type: ignore[attr-defined]
unified_http_client.PoolManager = Pools  # type: ignore[attr-defined]
unified_http_client.ProxyManager = ProxiedPools  # type: ignore[attr-defined]
