"""One POST. Goes below the HTTP libraries: what matters here is where it goes, and that it ends.

The name is resolved once, what it leads to is judged, and that very address is connected to; TLS is for the name. Of
the answer nothing but its head is read, within the same time limit. No redirect is followed, no proxy is used.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult

from blade_server.addresses import is_loopback, is_never

MAX_HEAD_BYTES = 16 * 1024
_PORTS = {"http": 80, "https": 443}
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)\b")
_RETRY_AFTER = re.compile(rb"^retry-after:[ \t]*(\d{1,9})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the receiver said. `retry_after_s` None: it did not say."""

    status: int
    retry_after_s: float | None = None


class NotReached(Exception):
    """There was no answer. The text is for people and quotes nothing that the other side said."""


def post(url: SplitResult, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> Answer:
    """Sends it and returns the answer, whatever its status. Blocks; `timeout_s` is for all but the look-up of the name.

    Raises NotReached.
    """
    host, deadline_s = url.hostname or "", time.monotonic() + timeout_s
    port = url.port or _PORTS[url.scheme]
    address = _address(host, port)
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as plain:
            plain.settimeout(_left_s(deadline_s))
            connection = _with_tls(plain, host) if url.scheme == "https" else plain
            try:
                connection.settimeout(_left_s(deadline_s))
                connection.sendall(_written(url, body, headers))
                return _answer(connection, deadline_s)
            finally:
                connection.close()
    except TimeoutError as exc:
        raise NotReached(f"{host!r} gave no answer within {timeout_s:g} s") from exc
    except ssl.SSLCertVerificationError as exc:
        raise NotReached(f"the certificate of {host!r} is not good: {exc.verify_message}") from exc
    except ssl.SSLError as exc:
        raise NotReached(f"TLS with {host!r} failed: {exc.reason or 'it broke off'}") from exc
    except OSError as exc:
        raise NotReached(f"{host!r} cannot be reached: {exc.strerror or type(exc).__name__}") from exc


def _address(host: str, port: int) -> str:
    """The address to connect to. One that must never be among those of a name spoils the name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise NotReached(f"no address is known for {host!r}") from exc
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        if is_never(address):
            raise NotReached(f"{host!r} leads to {address}, which nobody is ever asked at")
        if _is_here(address) and not is_loopback(host):
            raise NotReached(f"{host!r} leads to this machine, {address}; name 'localhost' if that is meant")
    if not addresses:
        raise NotReached(f"no address is known for {host!r}")
    return addresses[0]


def _is_here(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or found
    return inner.is_loopback or inner.is_unspecified


def _with_tls(plain: socket.socket, host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(plain, server_hostname=host)


def _written(url: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    authority = url.netloc.rpartition("@")[2]
    if not authority.isascii():
        authority = authority.encode("idna").decode()
    lines = [f"POST {target} HTTP/1.1", f"Host: {authority}", "User-Agent: blade", "Connection: close"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _answer(connection: socket.socket, deadline_s: float) -> Answer:
    """Its head; those of 1xx, which come before it, are passed over."""
    read = b""
    while True:
        end = _END.search(read)
        if end is None:
            if len(read) > MAX_HEAD_BYTES:
                raise NotReached("the answer is no HTTP, or its head is too long")
            connection.settimeout(_left_s(deadline_s))
            more = connection.recv(4096)
            if not more:
                raise NotReached("the connection was closed without an answer")
            read += more
            continue
        status = _STATUS.match(read)
        if status is None:
            raise NotReached("the answer is no HTTP")
        if status[1][:1] != b"1":
            after = _RETRY_AFTER.search(read[: end.start()].replace(b"\r", b""))
            return Answer(status=int(status[1]), retry_after_s=float(after[1]) if after else None)
        read = read[end.end() :]


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
