"""One JSON document of the provider, asked for or posted for, within limits of time and size."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlencode, urlsplit

from blade_server.addresses import is_loopback, proxy_for

LIMIT_S = 5.0
MAX_BYTES = 1 << 20


class FetchError(Exception):
    """The provider does not answer as it should; one sentence for the log."""


def fetch(url: str, ca_file: Path | None) -> dict[str, Any]:
    """The JSON object at a URL; redirects are not followed. Blocks for about `LIMIT_S` at most. Raises FetchError."""
    status, body = _answer(url, ca_file)
    if status != 200:
        raise FetchError(f"{url} answers {status}")
    return _document(url, body)


def post(
    url: str, ca_file: Path | None, form: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]]:
    """The status and the JSON object that a form is answered with. Blocks and raises as `fetch`.

    What is sent stands in no error.
    """
    status, body = _answer(url, ca_file, urlencode(form).encode(), headers)
    return status, _document(url, body)


def checked(url: object, what: str) -> str:
    """The URL, if it is HTTPS, or HTTP on this machine. Raises FetchError."""
    if isinstance(url, str):
        with suppress(ValueError):
            parts = urlsplit(url)
            host = parts.hostname or ""
            if host and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
                return url
    raise FetchError(f"{what} is {url!r:.200}: it must begin with https:// (http:// only on loopback)")


def _answer(
    url: str, ca_file: Path | None, form: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    try:
        status, body = _exchange(urlsplit(url), ca_file, form, headers or {})
    except (OSError, http.client.HTTPException, ValueError) as exc:  # ssl.SSLError is an OSError
        raise FetchError(f"{url} does not answer: {exc or type(exc).__name__}") from None  # it may hold what was sent
    if len(body) > MAX_BYTES:
        raise FetchError(f"{url} answers with more than {MAX_BYTES >> 20} MiB")
    return status, body


def _document(url: str, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise FetchError(f"{url} answers with no JSON") from exc
    if not isinstance(document, dict):
        raise FetchError(f"{url} answers with no JSON object")
    return document


def _exchange(
    parts: SplitResult, ca_file: Path | None, form: bytes | None, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """A GET, or, with a form, a POST of it."""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    whole = {"Accept": "application/json", "User-Agent": "blade", **headers}
    if form is not None:
        whole["Content-Type"] = "application/x-www-form-urlencoded"
    with closing(_connection(parts, ca_file)) as connection:
        connection.connect()
        cut = threading.Timer(LIMIT_S, _cut, (connection.sock,))  # however slowly it sends
        cut.start()
        try:
            connection.request("GET" if form is None else "POST", path, form, whole)
            answer = connection.getresponse()
            return answer.status, answer.read(MAX_BYTES + 1)
        finally:
            cut.cancel()


def _connection(parts: SplitResult, ca_file: Path | None) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=LIMIT_S)
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    proxy = proxy_for("https", host)
    if proxy is None:
        return http.client.HTTPSConnection(host, parts.port, timeout=LIMIT_S, context=context)
    through = http.client.HTTPSConnection(proxy.hostname or "", proxy.port or 80, timeout=LIMIT_S, context=context)
    through.set_tunnel(host, parts.port or 443, headers=_proxy_headers(proxy))
    return through


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(user.encode()).decode()}"}


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)
