"""The steps of a test: host, port, credentials, what the catalog can do."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urlsplit

from blade_server.addresses import proxy_for
from blade_server.catalog.answers import Capabilities
from blade_server.catalog.wire.pool import ConnectionPool
from blade_server.errors import BladeError, CatalogDenied, CatalogUnavailable
from blade_server.model import StepKind, StepOutcome, TestStep

_CONNECT_TIMEOUT_S = 10.0
_PORTS = {"http": 80, "https": 443}


def connect_steps(pool: ConnectionPool, ask: Callable[[], Capabilities]) -> Iterator[TestStep]:
    """RESOLVE, CONNECT, AUTHENTICATE and CAPABILITIES in order; a failed step is the last one. `ask` asks the catalog.

    Blocks, as long as the pool waits for one answer at most.
    """
    for kind, take in ((StepKind.RESOLVE, _resolve), (StepKind.CONNECT, _connect)):
        began = time.monotonic()
        try:
            yield _passed(kind, take(pool), began)
        except BladeError as exc:
            yield _failed(kind, exc, began)
            return
    yield from _asked(ask)


def _asked(ask: Callable[[], Capabilities]) -> Iterator[TestStep]:
    """One request presents the credentials; the answer shows which of the two steps failed."""
    began = time.monotonic()
    try:
        can = ask()
    except CatalogDenied as exc:
        yield _failed(StepKind.AUTHENTICATE, exc, began)
        return
    except BladeError as exc:
        # No answer at all says nothing of the credentials, and one that is no refusal says that they were not refused.
        yield _passed(StepKind.AUTHENTICATE, "the credentials were not refused", began)
        yield _failed(StepKind.CAPABILITIES, exc, began)
        return
    yield _passed(StepKind.AUTHENTICATE, "the credentials were not refused", began)
    yield _passed(StepKind.CAPABILITIES, _words(can), time.monotonic())


def _words(can: Capabilities) -> str:
    batches = f"batches of {can.max_batch_items}" if can.max_batch_items > 1 else "one item a request"
    offers = {"look-ups": can.can_look_up, "deletes": can.deletes, "lists": can.lists}
    has = ", ".join(name for name, there in offers.items() if there) or "no look-ups, deletes or lists"
    return f"{batches}; {has}" + (f"; it is {can.catalog_id}" if can.catalog_id else "; it names no catalogId")


def _resolve(pool: ConnectionPool) -> str:
    host, port, _ = _peer(pool)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        raise CatalogUnavailable(
            f"the host name {host!r} cannot be resolved: check its spelling and this server's DNS"
        ) from exc
    return f"{host} is {', '.join(dict.fromkeys(str(address[4][0]) for address in found))}"


def _connect(pool: ConnectionPool) -> str:
    host, port, parts = _peer(pool)
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S) as plain:
            pool.check_address(str(plain.getpeername()[0]))
            if (host, port) != _own_peer(parts):
                return f"the proxy {host}:{port} accepts connections"
            if parts.scheme == "http":
                return f"{host}:{port} accepts connections (plain HTTP)"
            with pool.tls_context().wrap_socket(plain, server_hostname=host) as safe:
                return f"{host}:{port} accepts connections ({safe.version()})"
    except ssl.SSLError as exc:
        raise CatalogUnavailable(
            f"{host}:{port} listens, but its TLS certificate is not trusted or it speaks no TLS "
            f"({getattr(exc, 'verify_message', '') or exc.reason}); set {pool.origin.ca_file} for a private CA"
        ) from exc
    except OSError as exc:
        why = "timed out" if isinstance(exc, TimeoutError) else (exc.strerror or type(exc).__name__)
        raise CatalogUnavailable(f"{host}:{port} does not accept connections ({why}): check host and port") from exc


def _peer(pool: ConnectionPool) -> tuple[str, int, SplitResult]:
    """Host and port to connect to, the proxy's if the environment names one for this host; and the catalog's URL."""
    pool.check_is_set()
    parts = urlsplit(pool.url)
    try:
        proxy = proxy_for(parts.scheme, parts.hostname or "")
    except ValueError as exc:
        raise CatalogUnavailable(str(exc)) from exc
    if proxy is not None:
        return proxy.hostname or "", proxy.port or 80, parts
    return *_own_peer(parts), parts


def _own_peer(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


def _passed(kind: StepKind, message: str, began: float) -> TestStep:
    return TestStep(kind=kind, outcome=StepOutcome.PASSED, message=message, duration_ms=_since(began))


def _failed(kind: StepKind, exc: BladeError, began: float) -> TestStep:
    return TestStep(kind=kind, outcome=StepOutcome.FAILED, message=exc.message, duration_ms=_since(began))


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000.0
