"""Kept-open connections to the catalog, and the ways a request is sent.

Goes below `requests.Session`, which looks up proxies, certificates and cookies anew for every call and takes three
times as long: what the environment says is resolved once, and requests' adapter makes the pool of connections, so that
proxies and TLS are as its users know them. The pool is then used directly; it follows no redirect and repeats nothing.
urllib3 looks whether a kept connection was closed meanwhile before it uses it, so an idle one that the catalog gave up
costs a connect, not an error. Uploads take the short way of `exchange`, unless they go through a proxy.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
import urllib3
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from requests.utils import requote_uri, select_proxy

from blade_server import tracing
from blade_server.addresses import checked_proxy, checked_url, is_loopback, is_never, speaks_otherwise
from blade_server.catalog.failures import Answer, AnswerTooLong, breakage
from blade_server.catalog.origin import OWN, Origin
from blade_server.catalog.wire.exchange import TooLong, exchange
from blade_server.errors import Precondition, Reason
from blade_server.metrics.families import CATALOG_UP, HTTP_REQUESTS

_CONNECT_TIMEOUT_S = 10.0
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_DENIED = frozenset({401, 403})

logger = logging.getLogger(__name__)


class ConnectionPool:
    """At most `size` connections to one base URL, shared by all threads; a thread waits while all are busy."""

    def __init__(
        self,
        url: str,
        *,
        token: SecretStr | None,
        ca_file: Path | None,
        timeout_s: float,
        size: int,
        origin: Origin = OWN,
    ) -> None:
        self.url = _checked(url, origin)
        self.origin = origin
        self.answers = False  # whether a good one ever came; for its user to say
        self.losses = 0  # changes with every connection that broke or could not be made
        self._timeout_s = timeout_s
        self._timeout = urllib3.Timeout(connect=min(timeout_s, _CONNECT_TIMEOUT_S), read=timeout_s)
        self._headers = {"User-Agent": "blade", "Accept": "application/json", "Accept-Encoding": "identity"}
        self._token, self._shown = token, ""
        if token is not None:
            self._shown = _header_safe(token, origin)
            self._headers["Authorization"] = f"Bearer {self._shown}"
        if ca_file is not None and not ca_file.exists():
            raise ValueError(f"{origin.ca_file} is {str(ca_file)!r}, which does not exist")
        with requests.Session() as session:
            environment = session.merge_environment_settings(self.url, {}, None, None, None)
        self._proxies = environment["proxies"]
        self._proxy = select_proxy(self.url, self._proxies) if self.url else None
        if self._proxy:
            checked_proxy(self._proxy)
        self._verify = str(ca_file) if ca_file is not None else environment["verify"] or True
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=size, pool_block=True)
        self._opened: tuple[urllib3.HTTPConnectionPool, str] | None = None

    def close(self) -> None:
        """Closes the connections that are idle."""
        self._adapter.close()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        stores: bool = False,
    ) -> Answer:
        """Sends it once. `path` is percent-encoded; `stores`: the request is an upload.

        Any whole answer is returned, whatever its status. Raises CatalogUnavailable if none came, Precondition if no
        catalog is set up.
        """
        self.check_is_set()
        began, status = time.monotonic(), 0
        try:
            answer = self._request(method, path, body, headers or {}, stores=stores)
            status = answer.status
            return answer
        finally:
            self._count(method, status, time.monotonic() - began)

    def _count(self, method: str, status: int, took_s: float) -> None:
        destination = self.origin.destination
        HTTP_REQUESTS.labels(destination, method, status).observe(took_s)
        CATALOG_UP.saw(0 < status < 500 and status not in _DENIED, destination)

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, stores: bool
    ) -> Answer:
        sent = {**self._current_headers(), **headers, **tracing.headers()}
        try:
            pool, base = self._opened or self._open()
            if stores and body is not None and pool.proxy is None:
                return self._exchange(pool, self._written(pool, method, base + path, body, sent))
            response = pool.urlopen(
                method,
                base + path,
                body,
                sent,
                retries=self._adapter.max_retries,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
            return Answer(response.status, response.headers, self._read(response))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, OverflowError) as exc:
            self.losses += 1  # an OverflowError: urllib3 reads as many bytes as the answer says it has
            logger.info("%s %s: %r", method, path, exc)
            self.check_scheme()
            raise breakage(exc, catalog=self.url, stores=stores, origin=self.origin) from exc
        except TooLong as exc:
            message = f"the catalog at {self.url} sent more than {_MAX_ANSWER_BYTES} bytes"
            raise AnswerTooLong(message, maybe_stored=stores) from exc

    def _current_headers(self) -> Mapping[str, str]:
        """Those of every request, with the token that its file has now."""
        if self._token is not None and self._token.get_secret_value() != self._shown:
            self._shown = self._token.get_secret_value()
            try:
                self._headers = self._headers | {"Authorization": f"Bearer {_header_safe(self._token, self.origin)}"}
            except ValueError as exc:
                logger.error("%s; the one before is kept", exc)
        return self._headers

    def check_is_set(self) -> None:
        """Raises Precondition if there is no URL."""
        if not self.url:
            message = f"no catalog is set up; set {self.origin.url} to its base URL"
            raise Precondition(message, reason=Reason.CATALOG_UNAVAILABLE)

    def check_address(self, address: str) -> None:
        """Raises Precondition for an address that was reached and where this catalog may not be."""
        kind = "a link-local address" if is_never(address) else ""
        if not kind and not self.origin.loopback and is_loopback(address):
            kind = "an address of this machine"
        if kind:
            message = f"the catalog of {self.origin.url} is at {address}, {kind}, where no catalog may be"
            raise Precondition(message, reason=Reason.CATALOG_UNAVAILABLE)

    def tls_context(self) -> ssl.SSLContext:
        """That trusts whom the connections trust."""
        return ssl.create_default_context(cafile=self._verify if isinstance(self._verify, str) else None)

    def check_scheme(self) -> None:
        """Raises Precondition if the port speaks TLS and the URL says otherwise, or reverse: waiting would not help.

        To be asked before the first good answer, and after it not at all.
        """
        if not self.answers and not self._proxy:
            wrong = speaks_otherwise(self.url)
            if wrong:
                text = f"the catalog of {self.origin.url}={self.url} {wrong}"
                raise Precondition(text, reason=Reason.CATALOG_UNAVAILABLE)

    def _written(
        self, pool: urllib3.HTTPConnectionPool, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {_authority(pool)}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return b"".join(["\r\n".join([*lines, "", ""]).encode("latin-1"), body])

    def _exchange(self, pool: urllib3.HTTPConnectionPool, request: bytes) -> Answer:
        connection: Any = pool._get_conn()  # one that was closed meanwhile has no socket any more
        reusable = False
        try:
            deadline = time.monotonic() + self._timeout_s
            if connection.sock is None:
                connection.timeout = self._timeout.connect_timeout
                connection.connect()
            left_s = deadline - time.monotonic()
            answer, reusable = exchange(connection.sock, request, timeout_s=left_s, most_bytes=_MAX_ANSWER_BYTES)
            return answer
        except ssl.SSLError as exc:
            raise urllib3.exceptions.SSLError(exc) from exc
        finally:
            if not reusable:
                connection.close()
            pool._put_conn(connection)

    def _open(self) -> tuple[urllib3.HTTPConnectionPool, str]:
        """The pool, and what stands before each path in a request: with a proxy for plain HTTP the whole base URL."""
        request = requests.PreparedRequest()
        request.url = self.url
        pool: Any = self._adapter.get_connection_with_tls_context(request, self._verify, proxies=self._proxies)
        self._adapter.cert_verify(pool, request.url, self._verify, None)  # type: ignore[no-untyped-call]
        if pool.proxy is None:
            pool.ConnectionCls = _guarded(pool.ConnectionCls, self.check_address)
        self._opened = pool, requote_uri(self._adapter.request_url(request, self._proxies).rstrip("/"))
        return self._opened

    def _read(self, raw: urllib3.BaseHTTPResponse) -> bytes:
        """The body, within the time limit as a whole: the socket's own limit starts anew with every byte."""
        deadline = time.monotonic() + self._timeout_s
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := raw.read1(decode_content=True):
                chunks.append(chunk)
                size += len(chunk)
                if size > _MAX_ANSWER_BYTES:
                    raise TooLong
                if time.monotonic() > deadline:
                    raise TimeoutError
        except BaseException:
            raw.close()  # the rest of the answer must not be taken for the next one
            raise
        finally:
            raw.release_conn()  # closed or not: the pool counts on getting each one back
        return b"".join(chunks)


def _guarded(kind: Any, check_address: Callable[[str], None]) -> Any:
    """A class of connections that are closed before a byte is sent if they lead to where no catalog may be."""

    class Guarded(kind):  # type: ignore[misc]
        def _new_conn(self) -> Any:
            connection = super()._new_conn()
            try:
                check_address(str(connection.getpeername()[0]))
            except Precondition:
                connection.close()
                raise
            return connection

    return Guarded


def _authority(pool: urllib3.HTTPConnectionPool) -> str:
    """The Host header. Of the pool, which spells a name outside ASCII as DNS does."""
    host = f"[{pool.host.partition('%')[0]}]" if ":" in pool.host else pool.host  # a zone means nothing over there
    return f"{host}:{pool.port}" if pool.port else host


def _checked(url: str, origin: Origin) -> str:
    """The base URL without its last slash; empty stays empty. Raises ValueError."""
    if not url:
        return ""
    parts = checked_url(origin.url, url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{origin.url} has a user, query or fragment; put credentials into {origin.token}")
    if is_never(parts.hostname or ""):
        raise ValueError(f"{origin.url} is {url!r}, a link-local address, where no catalog may be")
    return url.rstrip("/")


def _header_safe(token: SecretStr, origin: Origin) -> str:
    value = token.get_secret_value()
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"{origin.token} has characters that cannot stand in an HTTP header")
    return value
